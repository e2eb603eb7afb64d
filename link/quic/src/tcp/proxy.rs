//! HTTP proxies: `CONNECT` with a user and a password, and which addresses need none.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;
use zeroize::Zeroizing;

/// An answer to `CONNECT` is a few lines.
const MAX_ANSWER: usize = 8 * 1024;
/// What of a proxy's answer is shown.
const SHOWN: usize = 200;

/// A proxy that is asked to `CONNECT`.
#[derive(Clone)]
pub struct Proxy {
    host: String,
    port: u16,
    /// The value of `Proxy-Authorization`.
    authorization: Option<Zeroizing<String>>,
}

/// A proxy, and which addresses are dialled without it.
#[derive(Debug, Clone, Default)]
pub struct ProxyRules {
    proxy: Option<Proxy>,
    direct: Vec<Direct>,
}

/// The address of a proxy cannot be used. The text never holds its password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlError {
    /// It is no URL with a host.
    #[error("the proxy's address is not a URL like http://user:password@host:port: {0}")]
    NotUrl(String),
    /// Only plain HTTP is spoken to proxies.
    #[error("a proxy with the scheme {0} is not supported, only http (the link inside is encrypted by itself)")]
    Scheme(String),
}

/// The proxy did not open the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The proxy is not there.
    #[error("connecting to proxy {proxy}: {error}")]
    Unreachable {
        /// `host:port`.
        proxy: String,
        /// Why.
        error: String,
    },
    /// It does not want to.
    #[error("proxy {proxy} answers {status:?} to CONNECT {address}{}", if *.code == 407 { " (it wants a user and a password)" } else { "" })]
    Refused {
        /// `host:port`.
        proxy: String,
        /// What was asked for.
        address: String,
        /// The number of its answer.
        code: u16,
        /// Its answer's first line without the version.
        status: String,
    },
    /// It answered something else.
    #[error("proxy {proxy} does not answer like an HTTP proxy: {error}")]
    Nonsense {
        /// `host:port`.
        proxy: String,
        /// What is wrong.
        error: String,
    },
}

/// An entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Direct {
    All,
    Network(IpAddr, u8),
    /// The name itself and everything below it, on every port or on one.
    Name(String, Option<u16>),
    /// Everything below the name, not the name itself.
    Below(String),
}

impl FromStr for Proxy {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        // `proxy:3128` is what many write, and reads as a URL with the scheme `proxy`.
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url: Url = with_scheme
            .parse()
            .map_err(|error: url::ParseError| ProxyUrlError::NotUrl(error.to_string()))?;
        if url.scheme() != "http" {
            return Err(ProxyUrlError::Scheme(url.scheme().to_owned()));
        }
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| ProxyUrlError::NotUrl("it names no host".to_owned()))?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let authorization = (!url.username().is_empty() || url.password().is_some()).then(|| {
            let (user, password) = (decode(url.username()), decode(url.password().unwrap_or_default()));
            Zeroizing::new(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        });
        Ok(Self {
            host: host.to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            authorization,
        })
    }
}

impl Proxy {
    /// `host:port`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Opens a way to `host:port`. What comes afterwards is between the two ends.
    pub async fn connect(&self, address: &str) -> Result<TcpStream, ProxyError> {
        let unreachable = |error: io::Error| ProxyError::Unreachable {
            proxy: self.name(),
            error: error.to_string(),
        };
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut stream = TcpStream::connect((host, self.port)).await.map_err(unreachable)?;
        let mut request = Zeroizing::new(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n"));
        if let Some(authorization) = &self.authorization {
            request.push_str("Proxy-Authorization: ");
            request.push_str(authorization);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.map_err(unreachable)?;
        let answer = self.read_answer(&mut stream).await?;
        self.judge(&answer, address)?;
        Ok(stream)
    }

    /// Reads to the end of the head and no further: the first bytes after it are the other end's.
    async fn read_answer(&self, stream: &mut (impl AsyncRead + Unpin)) -> Result<String, ProxyError> {
        let nonsense = |error: String| ProxyError::Nonsense {
            proxy: self.name(),
            error,
        };
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= MAX_ANSWER {
                return Err(nonsense(format!("its answer is longer than {MAX_ANSWER} bytes")));
            }
            match stream.read_u8().await {
                Ok(byte) => answer.push(byte),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && answer.is_empty() => {
                    return Err(nonsense("it closed the connection without an answer".to_owned()));
                }
                Err(error) => return Err(nonsense(error.to_string())),
            }
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn judge(&self, answer: &str, address: &str) -> Result<(), ProxyError> {
        let first = answer.lines().next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once(' '));
        let code = status.and_then(|(_, status)| status.get(..3)?.parse::<u16>().ok());
        let (Some((_, status)), Some(code)) = (status, code) else {
            let first: String = first.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
            return Err(ProxyError::Nonsense {
                proxy: self.name(),
                error: format!("{first:?}"),
            });
        };
        if (200..300).contains(&code) {
            return Ok(());
        }
        Err(ProxyError::Refused {
            proxy: self.name(),
            address: address.to_owned(),
            code,
            status: status.chars().filter(|c| !c.is_control()).take(SHOWN).collect(),
        })
    }
}

impl ProxyRules {
    /// A proxy, and `NO_PROXY` as it stands in the environment: names (with everything below them), addresses, networks
    /// (`10.0.0.0/8`), each with a port if need be, or `*`.
    pub fn new(proxy: Option<Proxy>, no_proxy: &str) -> Self {
        let entries = no_proxy
            .split([',', ' '])
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        Self {
            proxy,
            direct: entries.map(Direct::read).collect(),
        }
    }

    /// What an environment says, as other programs read it: `HTTPS_PROXY`, else `ALL_PROXY`, each also in small letters.
    ///
    /// # Errors
    /// The proxy's address cannot be used; the variable is named.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, (&'static str, ProxyUrlError)> {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
            .into_iter()
            .find_map(|name| Some((name, given(name)?)))
            .map(|(name, value)| value.parse().map_err(|error| (name, error)))
            .transpose()?;
        let no_proxy = given("NO_PROXY").or_else(|| given("no_proxy")).unwrap_or_default();
        Ok(Self::new(proxy, &no_proxy))
    }

    /// The proxy for `host:port`, if it needs one.
    pub fn proxy_for(&self, address: &str) -> Option<&Proxy> {
        let proxy = self.proxy.as_ref()?;
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (address, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        (!self.direct.iter().any(|entry| entry.covers(&host, port))).then_some(proxy)
    }
}

impl Direct {
    fn read(entry: &str) -> Self {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return Self::All;
        }
        if let Ok(address) = entry.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Self::Network(address, if address.is_ipv4() { 32 } else { 128 });
        }
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u8>())
            && bits <= if address.is_ipv4() { 32 } else { 128 }
        {
            return Self::Network(address, bits);
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => (name, port.parse().ok()),
            _ => (entry.as_str(), None),
        };
        match (name.strip_prefix("*.").or_else(|| name.strip_prefix('.')), port) {
            (Some(below), None) => Self::Below(below.to_owned()),
            (Some(name), port) => Self::Name(name.to_owned(), port),
            (None, port) => Self::Name(name.to_owned(), port),
        }
    }

    fn covers(&self, host: &str, port: Option<u16>) -> bool {
        let below = |name: &str| host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        match self {
            Self::All => true,
            Self::Network(network, bits) => host
                .parse()
                .is_ok_and(|address| same_network(*network, address, u32::from(*bits))),
            Self::Name(name, only) => (only.is_none() || *only == port) && (host == name || below(name)),
            Self::Below(name) => below(name),
        }
    }
}

fn same_network(network: IpAddr, address: IpAddr, bits: u32) -> bool {
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0,
        _ => false,
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(no_proxy: &str) -> ProxyRules {
        ProxyRules::new(Some("http://proxy:3128".parse().expect("a URL")), no_proxy)
    }

    /// A proxy is a stranger too: whatever it answers is an answer or an error, and shown without control characters.
    #[tokio::test]
    async fn no_answer_of_a_proxy_breaks_an_agent() {
        use rand::{Rng, SeedableRng};
        let proxy: Proxy = "http://proxy:3128".parse().expect("a URL");
        let right = "HTTP/1.1 200 Connection established\r\nVia: ä\r\n\r\n".as_bytes();
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        let mut outcomes = [0, 0, 0];
        for _ in 0..5_000 {
            let mut bytes = right.to_vec();
            for _ in 0..rng.random_range(0..4) {
                let place = rng.random_range(0..bytes.len());
                match rng.random_range(0..3) {
                    0 => bytes[place] = rng.random(),
                    1 => bytes.insert(place, rng.random()),
                    _ => drop(bytes.remove(place)),
                }
            }
            let answer = proxy.read_answer(&mut bytes.as_slice()).await;
            match answer.and_then(|answer| proxy.judge(&answer, "hub:9443")) {
                Ok(()) => outcomes[0] += 1,
                Err(ProxyError::Refused { status, .. }) => {
                    assert!(!status.contains(char::is_control), "{status:?}");
                    outcomes[1] += 1;
                }
                Err(_) => outcomes[2] += 1,
            }
        }
        assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
        let endless = vec![b'x'; 2 * MAX_ANSWER];
        assert!(proxy.read_answer(&mut endless.as_slice()).await.is_err());
    }

    fn check_direct(no_proxy: &str, address: &str, direct: bool) {
        let found = rules(no_proxy).proxy_for(address).is_none();
        assert_eq!(found, direct, "{address} with NO_PROXY={no_proxy}");
    }

    #[test]
    fn addresses_that_need_no_proxy() {
        check_direct("", "hub.example.com:9443", false);
        check_direct("*", "hub.example.com:9443", true);
        check_direct("example.com", "hub.example.com:9443", true);
        check_direct("example.com", "example.com:9443", true);
        check_direct("example.com", "badexample.com:9443", false);
        check_direct(".example.com", "example.com:9443", false);
        check_direct("*.example.com", "hub.example.com:9443", true);
        check_direct("HUB.example.com:9443", "hub.example.com:9443", true);
        check_direct("hub.example.com:443", "hub.example.com:9443", false);
        check_direct("other, 10.0.0.0/8", "10.1.2.3:9443", true);
        check_direct("10.0.0.0/8", "11.1.2.3:9443", false);
        check_direct("0.0.0.0/0", "11.1.2.3:9443", true);
        check_direct("10.0.0.0/99", "10.1.2.3:9443", false);
        check_direct("fd00::/8", "[fd00::1]:9443", true);
        check_direct("127.0.0.1", "127.0.0.1:9443", true);
    }

    #[test]
    fn proxies_are_read_and_their_passwords_not_shown() {
        let proxy: Proxy = "http://us%40er:p%2Bw@proxy.corp:3128/".parse().expect("a URL");
        assert_eq!(proxy.name(), "proxy.corp:3128");
        let authorization = proxy.authorization.as_deref().expect("there is one");
        assert_eq!(*authorization, format!("Basic {}", STANDARD.encode("us@er:p+w")));
        assert_eq!(format!("{proxy:?}"), "Proxy(proxy.corp:3128)");
        let plain: Proxy = "proxy:3128".parse().expect("a host and a port");
        assert!(plain.authorization.is_none());
        let error = "https://u:secret@proxy".parse::<Proxy>().expect_err("not supported");
        assert_eq!(error, ProxyUrlError::Scheme("https".to_owned()));
        assert!("http://".parse::<Proxy>().is_err());
    }

    #[test]
    fn the_environment_is_read_as_others_do() {
        let read = |pairs: &'static [(&'static str, &'static str)]| {
            ProxyRules::from_environment(move |name| {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let rules = read(&[("https_proxy", "http://p:1"), ("no_proxy", "hub")]).expect("usable");
        assert_eq!(rules.proxy_for("other:1").map(Proxy::name).as_deref(), Some("p:1"));
        assert!(rules.proxy_for("hub:1").is_none());
        assert!(read(&[]).expect("nothing").proxy_for("hub:1").is_none());
        let (variable, _) = read(&[("ALL_PROXY", "socks5://p")]).expect_err("not supported");
        assert_eq!(variable, "ALL_PROXY");
    }

    #[test]
    fn answers_of_proxies() {
        let proxy: Proxy = "p:1".parse().expect("a host and a port");
        let judge = |answer: &str| proxy.judge(answer, "hub:9443").map_err(|error| error.to_string());
        assert_eq!(judge("HTTP/1.1 200 Connection established\r\n\r\n"), Ok(()));
        assert_eq!(
            judge("HTTP/1.0 407 Proxy Authentication Required\r\n\r\n"),
            Err("proxy p:1 answers \"407 Proxy Authentication Required\" to CONNECT hub:9443 (it wants a user and a password)".to_owned())
        );
        let said = judge("SSH-2.0-OpenSSH\r\n\r\n").expect_err("no proxy");
        assert!(said.contains("does not answer like an HTTP proxy"), "{said}");
    }
}
