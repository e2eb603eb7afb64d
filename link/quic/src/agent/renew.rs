//! When to ask for a new certificate, and what to make of the answer.

use std::time::Duration;

use nave_identity::{CertificateFacts, Key};
use nave_proto::wire::{Mode, RenewCode, RenewReply};

use super::identity::{AgentIdentity, IdentityError};

/// Asked again so long after an answer that names no time.
const AGAIN: Duration = Duration::from_secs(600);
/// Answers that name a time are believed within these bounds.
const AGAIN_AT_LEAST: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(3600);

/// A renewal under way: the key that the request was for.
#[derive(Debug)]
pub(crate) struct Renewal {
    key: Key,
}

/// What an answer means.
#[derive(Debug)]
pub(crate) enum Renewed {
    /// Use this identity from the next connection on.
    Use(Box<AgentIdentity>),
    /// Ask again after this time.
    Later { reason: String, after: Duration },
}

/// How long to wait with the request, from the moment of `Welcome`; `hub_ms` is the hub's clock then, because this
/// machine's may be wrong.
///
/// Two thirds into the certificate's life, give or take a tenth of it so that a fleet which joined in one minute does
/// not renew in one: `random` is from 0 to 1.
pub(crate) fn renew_after(certificate: Option<&CertificateFacts>, mode: Mode, hub_ms: i64, random: f64) -> Duration {
    let Some(facts) = certificate.filter(|_| mode != Mode::RenewOnly) else {
        return Duration::ZERO;
    };
    let (from, to) = (facts.not_before.as_millisecond(), facts.not_after.as_millisecond());
    let life = (to - from).max(0) as f64;
    let due = from as f64 + life * (2.0 / 3.0 + 0.2 * (random - 0.5));
    Duration::from_millis((due - hub_ms as f64).max(0.0) as u64)
}

impl Renewal {
    /// Makes the request. An agent that has no certificate yet asks for one for the key that was approved; any other
    /// changes its key.
    pub(crate) fn begin(identity: &AgentIdentity) -> Result<(Self, Vec<u8>), IdentityError> {
        let key = if identity.has_certificate() {
            Key::generate().map_err(IdentityError::Key)?
        } else {
            identity.key()?
        };
        let csr = key.request().map_err(IdentityError::Key)?.to_vec();
        Ok((Self { key }, csr))
    }

    /// Reads the answer.
    pub(crate) fn finish(self, identity: &AgentIdentity, reply: RenewReply) -> Renewed {
        let asked = Duration::from_millis(reply.retry_after_ms);
        let after = if asked.is_zero() {
            AGAIN
        } else {
            asked.clamp(AGAIN_AT_LEAST, AGAIN_AT_MOST)
        };
        match RenewCode::try_from(reply.code) {
            Ok(RenewCode::Renewed) => {}
            _ => {
                return Renewed::Later {
                    reason: reply.reason,
                    after,
                };
            }
        }
        let facts = reply
            .cert_chain
            .first()
            .and_then(|leaf| CertificateFacts::read(leaf).ok());
        if facts.is_none_or(|facts| facts.key != self.key.fingerprint()) {
            let reason = "the hub's certificate is not for the key that asked".to_owned();
            return Renewed::Later { reason, after };
        }
        let mut next = identity.clone();
        next.rekey(&self.key);
        next.certify(&reply.cert_chain);
        Renewed::Use(Box::new(next))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use nave_identity::KeyFingerprint;

    use super::*;

    #[test]
    fn renewal_is_due_after_two_thirds_by_the_hubs_clock() {
        let start = 1_800_000_000_000;
        let hours = |hours: i64| Timestamp::from_millisecond(start + hours * 3_600_000).expect("in range");
        let facts = CertificateFacts {
            key: KeyFingerprint::of_spki(b""),
            not_before: hours(0),
            not_after: hours(24),
            self_signed: false,
        };
        let check = |mode, hub_hours: i64, random, expected_hours: f64| {
            let after = renew_after(Some(&facts), mode, start + hub_hours * 3_600_000, random);
            assert!(
                (after.as_secs_f64() / 3600.0 - expected_hours).abs() < 0.001,
                "{after:?}"
            );
        };
        check(Mode::Normal, 0, 0.5, 16.0);
        check(Mode::Normal, 0, 0.0, 13.6);
        check(Mode::Normal, 0, 1.0, 18.4);
        check(Mode::Normal, 20, 0.5, 0.0);
        check(Mode::RenewOnly, 0, 0.5, 0.0);
        assert_eq!(renew_after(None, Mode::Normal, start, 0.5), Duration::ZERO);
    }
}
