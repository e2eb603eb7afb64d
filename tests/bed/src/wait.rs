//! Waiting for a condition instead of sleeping.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Asks again and again until the answer is `Ok`, for at most `deadline`.
///
/// The pause between two questions grows from 20 ms to 500 ms. The error says what was waited for, for how long, how
/// often it was asked, and carries the last answer as its source. A question that hangs is cut off at the deadline.
pub async fn eventually<T, F>(deadline: Duration, what: &str, mut question: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let started = Instant::now();
    let mut pause = Duration::from_millis(20);
    let mut asked = 0_u32;
    let mut last = None;
    loop {
        asked += 1;
        let left = deadline.saturating_sub(started.elapsed());
        match tokio::time::timeout(left.max(Duration::from_millis(1)), question()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = last.or_else(|| Some(anyhow::anyhow!("the question was not answered"))),
        }
        if started.elapsed() + pause >= deadline {
            let error = last.expect("it is set by every turn of the loop that gets here");
            return Err(error)
                .with_context(|| format!("waiting for {what}: not within {deadline:?} (asked {asked} times)"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn answers_as_soon_as_it_can() {
        let asked = Cell::new(0);
        let answer = eventually(Duration::from_secs(5), "three", || async {
            asked.set(asked.get() + 1);
            if asked.get() == 3 {
                Ok("yes")
            } else {
                Err(anyhow::anyhow!("no"))
            }
        });
        assert_eq!((answer.await.unwrap(), asked.get()), ("yes", 3));
    }

    #[tokio::test]
    async fn says_what_it_waited_for_and_the_last_answer() {
        let never = eventually(Duration::from_millis(100), "godot", || async {
            Err::<(), _>(anyhow::anyhow!("not today"))
        });
        let text = format!("{:#}", never.await.unwrap_err());
        assert!(
            text.starts_with("waiting for godot: not within 100ms (asked "),
            "{text}"
        );
        assert!(text.ends_with(": not today"), "{text}");
    }
}
