//! One way to print figures: name, value, what it is measured against.

use std::time::Duration;

/// Prints one row; `bound` says what the figure is held to.
pub fn row(name: &str, value: &str, bound: &str) {
    println!("{name:44} {value:>14}   {bound}");
}

/// Seconds with two decimals.
pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// A ratio with two decimals.
pub fn ratio(ours: Duration, floor: Duration) -> String {
    format!("{:.2} x", ours.as_secs_f64() / floor.as_secs_f64().max(1e-9))
}
