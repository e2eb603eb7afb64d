//! What carries the link: flags, the hub secret and the environment.

use anyhow::{Context, Result, anyhow};
use nave_quic::{Carriers, DialOptions, ProxyRules, Transport};

use crate::args::LinkTransport;

/// How the agent dials. `proxy` is what the hub secret or the hub config says; the environment's is used without it.
///
/// # Errors
/// A proxy that cannot be used: the link would be without it where it must not.
pub fn dial_options(transport: LinkTransport, proxy: Option<&str>) -> Result<DialOptions> {
    dial_options_with(transport, proxy, |name| std::env::var(name).ok())
}

fn dial_options_with(
    transport: LinkTransport,
    proxy: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<DialOptions> {
    let proxy = match proxy {
        Some(text) => {
            let proxy = text
                .parse()
                .context("the proxy of the hub secret (key proxy) or of the hub config")?;
            // It was named for the link, so that no exception of the environment concerns it.
            ProxyRules::new(Some(proxy), "")
        }
        None => ProxyRules::from_environment(variable)
            .map_err(|(name, error)| anyhow!(error).context(format!("environment variable {name}")))?,
    };
    Ok(DialOptions {
        carriers: match transport {
            LinkTransport::Any => Carriers::Any,
            LinkTransport::Quic => Carriers::Only(Transport::Quic),
            LinkTransport::Tcp => Carriers::Only(Transport::Tcp),
        },
        proxy,
        ..DialOptions::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(proxy: Option<&str>, environment: &[(&str, &str)], want: Option<&str>) {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let options = dial_options_with(LinkTransport::Any, proxy, variable).expect("usable");
        let used = options
            .proxy
            .proxy_for("hub.example.com:9443")
            .map(nave_quic::Proxy::name);
        assert_eq!(used.as_deref(), want, "{proxy:?} {environment:?}");
    }

    #[test]
    fn the_secret_comes_before_the_environment() {
        let environment = [("HTTPS_PROXY", "http://env:1"), ("NO_PROXY", "example.com")];
        check(None, &[], None);
        check(None, &environment[..1], Some("env:1"));
        check(None, &environment, None);
        check(Some("http://u:p@secret:2"), &environment, Some("secret:2"));
        let error = dial_options_with(LinkTransport::Tcp, Some("socks5://p"), |_| None).expect_err("not supported");
        assert!(format!("{error:#}").contains("key proxy"), "{error:#}");
        let error =
            dial_options_with(LinkTransport::Tcp, None, |_| Some("https://p".to_owned())).expect_err("likewise");
        assert!(format!("{error:#}").contains("HTTPS_PROXY"), "{error:#}");
    }
}
