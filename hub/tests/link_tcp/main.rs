//! The same tests as `link`, with every agent over TCP.

#[path = "../link/brake.rs"]
mod brake;
#[path = "../link/delivery.rs"]
mod delivery;
#[path = "../link/doors.rs"]
mod doors;
#[path = "../link/fake_agent.rs"]
mod fake_agent;
#[path = "../link/impostors.rs"]
mod impostors;
#[path = "../link/stage.rs"]
mod stage;
