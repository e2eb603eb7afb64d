//! Addresses that only this machine, or its own link, reaches.

use url::{Host, Url};

/// Whether a URL names this machine or its link: loopback, link-local (where cloud providers' metadata services are) and
/// unspecified addresses, and `localhost`.
///
/// By the address as it is written; what names resolve to is for network policies. A URL without a host counts as local.
pub fn is_local(url: &Url) -> bool {
    match url.host() {
        // Hosts of schemes that are not the web's, such as ssh, are kept as they are written: addresses among them, too.
        Some(Host::Domain(name)) if !matches!(url.scheme(), "http" | "https") => {
            Url::parse(&format!("http://{name}/")).map_or(true, |url| is_local(&url))
        }
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => match ip.to_ipv4_mapped() {
            Some(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
            None => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
        },
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_known_however_they_are_written() {
        for (address, local) in [
            ("http://localhost/x", true),
            ("http://a.localhost/", true),
            ("http://127.1/", true),
            ("http://0x7f000001/", true),
            ("http://169.254.169.254/latest", true),
            ("http://[::1]/", true),
            ("http://[fe80::1]/", true),
            ("http://[::ffff:169.254.169.254]/", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://0.0.0.0", true),
            ("http://10.0.0.1/", false),
            ("https://example.com/", false),
            ("ssh://git@127.0.0.1/x", true),
            ("ssh://git@127.1:22/x", true),
            ("ssh://LocalHost/x", true),
            ("ssh://[::1]:22/x", true),
            ("ssh://git@example.com/x", false),
            ("data:text/plain,x", true),
        ] {
            assert_eq!(is_local(&Url::parse(address).expect(address)), local, "{address}");
        }
    }
}
