//! A network on loopback that can be cut, slow and lossy: one relay for TCP, one for UDP.

mod tcp;
mod udp;

use std::sync::Mutex;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

pub use tcp::TcpRelay;
pub use udp::UdpRelay;

/// How the network is at the moment.
#[derive(Debug)]
struct Weather {
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    cut: bool,
    delay: Duration,
    loss: f64,
    /// Seeded by a constant, so that a run can be repeated as far as the scheduler allows.
    dice: StdRng,
}

/// What happens to one packet or chunk.
enum Fate {
    Lost,
    After(Duration),
}

impl Weather {
    fn fair() -> Weather {
        let now = Now {
            cut: false,
            delay: Duration::ZERO,
            loss: 0.0,
            dice: StdRng::seed_from_u64(7),
        };
        Weather { now: Mutex::new(now) }
    }

    fn set(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.lock().expect("nothing panics while it holds the weather"));
    }

    fn is_cut(&self) -> bool {
        self.now.lock().expect("nothing panics while it holds the weather").cut
    }

    fn fate(&self) -> Fate {
        let mut now = self.now.lock().expect("nothing panics while it holds the weather");
        let lost = now.loss > 0.0 && {
            let loss = now.loss.min(1.0);
            now.dice.random_bool(loss)
        };
        if now.cut || lost {
            Fate::Lost
        } else {
            Fate::After(now.delay)
        }
    }
}
