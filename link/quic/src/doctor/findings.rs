//! What was seen, judged: pure.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use nave_identity::BUILD_TIME_SECONDS;
use nave_proto::{Close, CloseCode};

use super::Seen;
use crate::connection::LinkError;
use crate::dialer::AttemptError;
use crate::tcp::ProxyError;

/// Clocks that differ by less are taken as equal: certificates and tokens have an hour of slack.
const CLOCK_SLACK: i64 = 60;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub health: Health,
    /// What was looked at: `udp hub.example.com:9443`.
    pub what: String,
    /// What was seen.
    pub said: String,
    /// What to do; empty when nothing is to be done.
    pub advice: String,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Good,
    /// The link works without it.
    Worse,
    /// The link does not work with it.
    Bad,
}

/// How a hub was reached.
#[derive(Debug)]
pub(super) enum Way {
    Quic { round_trip: Duration },
    Tcp,
}

/// A hub that was reached and believed.
#[derive(Debug)]
pub(super) struct Reached {
    pub way: Way,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// What it said to the key, when it did not let it in.
    pub refused: Option<Close>,
}

/// Whether the link can work.
pub fn healthy(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.health != Health::Bad)
}

/// Judges a clock: `seconds` is how far this machine's is ahead of the other one.
pub fn clock_finding(other: &str, seconds: i64) -> Finding {
    let what = "clock".to_owned();
    if seconds.abs() <= CLOCK_SLACK {
        return Finding::good(what, format!("agrees with {other} ({seconds:+} s)"));
    }
    let direction = if seconds > 0 { "ahead of" } else { "behind" };
    Finding {
        // An hour is what certificates are back-dated by.
        health: if seconds.abs() < 3600 {
            Health::Worse
        } else {
            Health::Bad
        },
        what,
        said: format!("this machine's clock is {} s {direction} {other}", seconds.abs()),
        advice: "set it (NTP, chrony): certificates are judged by it".to_owned(),
    }
}

/// A clock that is behind what is known to have been.
pub(super) fn behind_floor(now: i64, floor: i64) -> Option<Finding> {
    let floor = floor.max(i64::try_from(BUILD_TIME_SECONDS).unwrap_or_default());
    (now + CLOCK_SLACK < floor).then(|| Finding {
        health: Health::Worse,
        what: "clock".to_owned(),
        said: format!(
            "this machine's clock is at least {} s behind: a later time was seen already",
            floor - now
        ),
        advice: "set it (NTP, chrony); the link judges certificates by the later time meanwhile".to_owned(),
    })
}

pub(super) fn nothing_to_dial() -> Finding {
    Finding {
        health: Health::Bad,
        what: "addresses".to_owned(),
        said: "no hub address is known".to_owned(),
        advice: "join again with a token of a hub that was installed with --advertise".to_owned(),
    }
}

pub(super) fn findings(seen: &Seen, now: Timestamp, joined: bool) -> Vec<Finding> {
    let mut all = vec![name(seen)];
    let tcp_works = matches!(seen.tls, Some(Ok(_)));
    all.extend(seen.quic.as_ref().map(|quic| udp(&seen.address, quic, tcp_works)));
    let udp_works = matches!(seen.quic, Some(Ok(_)));
    all.extend(seen.tcp.as_ref().map(|tcp| opened(seen, tcp, udp_works)));
    let results = [&seen.quic, &seen.tls];
    let reached = results.iter().find_map(|result| result.as_ref()?.as_ref().ok());
    let strange = results.iter().find_map(|result| match result.as_ref()? {
        Err(AttemptError::Link(error)) => Some(error),
        _ => None,
    });
    match (reached, strange) {
        (Some(reached), strange) => {
            all.push(certificate(&seen.address, reached, now));
            // One way is answered by the hub and the other by somebody else: something breaks TLS open.
            all.extend(strange.map(|error| Finding {
                health: Health::Worse,
                ..distrust(&seen.address, error)
            }));
            all.push(key(&seen.address, reached, joined));
        }
        (None, Some(error)) => all.push(distrust(&seen.address, error)),
        (None, None) => {}
    }
    all
}

fn name(seen: &Seen) -> Finding {
    let what = format!("name {}", seen.address);
    match &seen.name {
        Ok(found) if !found.is_empty() => {
            let addresses: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
            Finding::good(what, addresses.join(", "))
        }
        Ok(_) => Finding {
            health: Health::Bad,
            what,
            said: "it has no address of a kind that this machine can use".to_owned(),
            advice: "give the hub's name an address of the IP version that is used here".to_owned(),
        },
        Err(error) => Finding {
            // A proxy resolves names itself.
            health: if seen.proxy.is_some() {
                Health::Worse
            } else {
                Health::Bad
            },
            what,
            said: error.to_string(),
            advice: "check the name and this machine's DNS, or let the hub advertise an address".to_owned(),
        },
    }
}

fn udp(address: &str, quic: &Result<Reached, AttemptError>, tcp_works: bool) -> Finding {
    let what = format!("udp {address}");
    match quic {
        Ok(Reached {
            way: Way::Quic { round_trip },
            ..
        }) => Finding::good(
            what,
            format!("QUIC gets through, {} ms there and back", round_trip.as_millis()),
        ),
        Ok(_) => Finding::good(what, "QUIC gets through"),
        Err(AttemptError::Link(_)) => Finding::good(what, "UDP gets through; what answers is judged below"),
        Err(error) => Finding {
            health: if tcp_works { Health::Worse } else { Health::Bad },
            what,
            said: error.to_string(),
            advice: if tcp_works {
                "the link goes over TCP; let UDP to this port through for a link that survives changes of address"
            } else {
                "is the hub up, and is UDP to this port let through (firewall, security group, Service of the hub)?"
            }
            .to_owned(),
        },
    }
}

fn opened(seen: &Seen, tcp: &Result<(), AttemptError>, udp_works: bool) -> Finding {
    let what = match &seen.proxy {
        Some(proxy) => format!("proxy {proxy} to {}", seen.address),
        None => format!("tcp {}", seen.address),
    };
    let advice = match tcp {
        Ok(()) => return Finding::good(what, "TCP gets through"),
        Err(AttemptError::Proxy(ProxyError::Refused { code: 407, .. })) => {
            "put the user and the password into the proxy's URL: key `proxy` of the hub secret, or HTTPS_PROXY"
        }
        Err(AttemptError::Proxy(ProxyError::Refused { .. })) => {
            "let the proxy CONNECT to this address and port, or add the address to NO_PROXY"
        }
        Err(AttemptError::Proxy(_)) => "check the proxy's address: key `proxy` of the hub secret, or HTTPS_PROXY",
        Err(_) => "is the hub up, and is TCP to this port let through (firewall, security group, Service of the hub)?",
    };
    Finding {
        health: if udp_works { Health::Worse } else { Health::Bad },
        what,
        said: match tcp {
            Err(error) => error.to_string(),
            Ok(()) => String::new(),
        },
        advice: advice.to_owned(),
    }
}

fn certificate(address: &str, reached: &Reached, now: Timestamp) -> Finding {
    let what = format!("certificate {address}");
    let (from, to) = (reached.not_before, reached.not_after);
    if now < from || now > to {
        let side = if now < from { "begins only" } else { "ended" };
        let when = if now < from { from } else { to };
        return Finding {
            health: Health::Worse,
            what,
            said: format!("the hub is believed, but by this machine's clock its certificate {side} at {when}"),
            advice: "this machine's clock is wrong: set it (NTP, chrony)".to_owned(),
        };
    }
    Finding::good(
        what,
        format!("the hub shows the root that is trusted; valid until {to}"),
    )
}

/// The hub was reached and is not believed.
fn distrust(address: &str, error: &LinkError) -> Finding {
    let said = error.to_string();
    let about_time = ["expired", "not valid yet", "NotValidYet", "Expired"]
        .iter()
        .any(|word| said.contains(word));
    let advice = match error {
        LinkError::Tls(_) if about_time => {
            "compare this machine's clock with the hub's; if they agree, restart the hub: its certificate was not renewed"
        }
        LinkError::Tls(_) => {
            "another hub, or something that breaks TLS open, answers there; if the hub's authority was replaced, join again with a new token"
        }
        _ => "something other than a hub answers at this address",
    };
    Finding {
        health: Health::Bad,
        what: format!("certificate {address}"),
        said,
        advice: advice.to_owned(),
    }
}

fn key(address: &str, reached: &Reached, joined: bool) -> Finding {
    let what = format!("key at {address}");
    let Some(close) = &reached.refused else {
        let said = if joined {
            "the hub lets this agent's key in"
        } else {
            "the hub lets new keys ask to join; whether the token is good shows when it is used"
        };
        return Finding::good(what, said);
    };
    let advice = match close.code() {
        Some(CloseCode::KeyUnknown) if joined => {
            "the hub knows no cluster with this key (was it forgotten or restored?): join again with a new token"
        }
        Some(CloseCode::KeyUnknown) => "no token of this hub is valid: `nave hub token create` makes one",
        Some(CloseCode::KeyRevoked) => "the key was taken back: join again with a new token",
        Some(CloseCode::Forgotten) => "the cluster was removed from the hub: join again with a new token",
        Some(CloseCode::Overloaded) => "try again later; the hub says why",
        _ => "see what the hub says",
    };
    Finding {
        health: Health::Bad,
        what,
        said: close.to_string(),
        advice: advice.to_owned(),
    }
}

impl Finding {
    /// Something as it should be.
    pub fn good(what: impl Into<String>, said: impl Into<String>) -> Self {
        Self {
            health: Health::Good,
            what: what.into(),
            said: said.into(),
            advice: String::new(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn reached(way: Way, refused: Option<Close>) -> Reached {
        Reached {
            way,
            not_before: at(1_000),
            not_after: at(9_000),
            refused,
        }
    }

    fn quic(refused: Option<Close>) -> Reached {
        let round_trip = Duration::from_millis(12);
        reached(Way::Quic { round_trip }, refused)
    }

    fn seen() -> Seen {
        Seen {
            address: "hub:1".to_owned(),
            name: Ok(vec!["10.0.0.1:1".parse().expect("an address")]),
            proxy: None,
            quic: Some(Ok(quic(None))),
            tcp: Some(Ok(())),
            tls: Some(Ok(reached(Way::Tcp, None))),
        }
    }

    /// `good`, or the worst line with its advice's first words.
    fn check(seen: &Seen, now: i64, want: &str) {
        let all = findings(seen, at(now), true);
        let worst = all.iter().max_by_key(|finding| finding.health).expect("there is one");
        let said = match worst.health {
            Health::Good => "good".to_owned(),
            health => format!("{health:?} {worst} | {}", worst.advice),
        };
        assert!(said.starts_with(want), "{said}\nwanted {want}");
        assert_eq!(healthy(&all), worst.health != Health::Bad);
        assert!(
            all.iter()
                .all(|finding| (finding.health == Health::Good) == finding.advice.is_empty())
        );
    }

    #[test]
    fn troubles_are_told_apart() {
        check(&seen(), 5_000, "good");
        let timeout = || Some(Err(AttemptError::Timeout { seconds: 5 }));
        let mut case = Seen {
            quic: timeout(),
            ..seen()
        };
        check(
            &case,
            5_000,
            "Worse udp hub:1: no answer in 5 s (is UDP let through?) | the link goes over TCP",
        );
        case.tcp = Some(Err(AttemptError::Connect("connection refused".to_owned())));
        case.tls = None;
        check(
            &case,
            5_000,
            "Bad tcp hub:1: connecting: connection refused | is the hub up",
        );
        let refused = ProxyError::Refused {
            proxy: "p:2".to_owned(),
            address: "hub:1".to_owned(),
            code: 407,
            status: "407 Proxy Authentication Required".to_owned(),
        };
        case.proxy = Some("p:2".to_owned());
        case.tcp = Some(Err(AttemptError::Proxy(refused)));
        check(
            &case,
            5_000,
            "Bad proxy p:2 to hub:1: proxy p:2 answers \"407 Proxy Authentication Required\"",
        );

        let tls = |words: &str| Some(Err(AttemptError::Link(LinkError::Tls(words.to_owned()))));
        let broken = "invalid peer certificate: UnknownIssuer";
        let case = Seen {
            quic: tls(broken),
            tls: tls(broken),
            ..seen()
        };
        check(
            &case,
            5_000,
            "Bad certificate hub:1: invalid peer certificate: UnknownIssuer | another hub",
        );
        let case = Seen {
            quic: tls("invalid peer certificate: certificate expired"),
            tls: None,
            ..seen()
        };
        check(
            &case,
            5_000,
            "Bad certificate hub:1: invalid peer certificate: certificate expired | compare this machine's clock",
        );
        let case = Seen {
            tls: tls(broken),
            ..seen()
        };
        check(&case, 5_000, "Worse certificate hub:1");
        check(
            &seen(),
            10,
            "Worse certificate hub:1: the hub is believed, but by this machine's clock its certificate begins",
        );

        let revoked = Close::new(CloseCode::KeyRevoked, "key revoked: stolen");
        let case = Seen {
            quic: Some(Ok(quic(Some(revoked)))),
            ..seen()
        };
        check(
            &case,
            5_000,
            "Bad key at hub:1: key revoked: stolen | the key was taken back",
        );
        let case = Seen {
            name: Err(AttemptError::Resolve("no such host".to_owned())),
            quic: None,
            tcp: None,
            tls: None,
            ..seen()
        };
        check(&case, 5_000, "Bad name hub:1: resolving the name: no such host");
    }

    #[test]
    fn clocks() {
        assert_eq!(clock_finding("the API server", -3).health, Health::Good);
        assert_eq!(clock_finding("the API server", 600).health, Health::Worse);
        let far = clock_finding("the API server", -7200);
        assert_eq!(
            far.to_string(),
            "clock: this machine's clock is 7200 s behind the API server"
        );
        assert_eq!(far.health, Health::Bad);
        let built = i64::try_from(BUILD_TIME_SECONDS).expect("a time");
        assert!(behind_floor(0, 0).is_some(), "1970");
        assert_eq!(behind_floor(built + 10, built + 30), None);
        assert!(behind_floor(built + 10, built + 500).is_some());
    }
}
