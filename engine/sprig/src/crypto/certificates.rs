//! X.509 certificates, laid out as Go's `crypto/x509` does.

use std::any::Any;
use std::net::IpAddr;
use std::rc::Rc;

use nave_gotemplate::{Caller, FunctionError, GoType, Object, Shape, Value};
use sha2::{Digest, Sha256};

use super::der::{self, Reader};
use super::keys::{Key, RSA_2048_FUEL};
use super::pem;
use crate::dates::GoTime;
use crate::encoding::decode_base64;
use crate::random::Shared;
use crate::table::{INT, LIST, Result, STRING, Table, int_at, str_at, text_at};

const CERTIFICATE: GoType = GoType::Named("sprig.certificate");

/// A `sprig.certificate`: a certificate and its private key, both in PEM.
struct Certificate {
    cert: String,
    key: String,
}

/// What a certificate says.
struct Request {
    name: String,
    dns: Vec<String>,
    ips: Vec<IpAddr>,
    days: i64,
    ca: bool,
}

/// Who signs.
struct Issuer {
    subject: Vec<u8>,
    public_info: Vec<u8>,
    key_id: Vec<u8>,
    key: Key,
}

pub(super) fn register(table: &mut Table<'_>, now: &GoTime, random: &Shared) {
    table.add("buildCustomCert", &[STRING, STRING], |caller, args| {
        caller.charge(10_000)?;
        custom(str_at(args, 0).as_bytes(), str_at(args, 1).as_bytes())
            .map(Value::object)
            .map_err(FunctionError::new)
    });
    // With a key as the last argument, or with one that is made.
    const CA: &[GoType] = &[STRING, INT];
    const CA_KEY: &[GoType] = &[STRING, INT, STRING];
    const SELF: &[GoType] = &[STRING, LIST, LIST, INT];
    const SELF_KEY: &[GoType] = &[STRING, LIST, LIST, INT, STRING];
    const SIGNED: &[GoType] = &[STRING, LIST, LIST, INT, CERTIFICATE];
    const SIGNED_KEY: &[GoType] = &[STRING, LIST, LIST, INT, CERTIFICATE, STRING];
    for (name, params) in [
        ("genCA", CA),
        ("genCAWithKey", CA_KEY),
        ("genSelfSignedCert", SELF),
        ("genSelfSignedCertWithKey", SELF_KEY),
        ("genSignedCert", SIGNED),
        ("genSignedCertWithKey", SIGNED_KEY),
    ] {
        let (now, random) = (now.clone(), Rc::clone(random));
        let with_key = name.ends_with("WithKey");
        let ca = name.starts_with("genCA");
        let signed = name.starts_with("genSigned");
        table.add(name, params, move |caller, args| -> Result {
            let key = if with_key {
                caller.charge(50_000)?;
                let text = text_at(args, params.len() - 1);
                Key::from_pem(&text).map_err(|error| FunctionError::new(format!("parsing private key: {error}")))?
            } else {
                new_key(caller, &random)?
            };
            let made = (|| {
                let issuer = if signed { Some(issuer(&args[4])?) } else { None };
                let request = request(args, ca)?;
                make(&request, &key, issuer.as_ref(), &now, &random)
            })();
            made.map(Value::object).map_err(FunctionError::new)
        });
    }
}

fn new_key(caller: &mut Caller<'_>, random: &Shared) -> std::result::Result<Key, FunctionError> {
    caller.charge(RSA_2048_FUEL)?;
    Key::rsa(2048, random).map_err(|error| FunctionError::new(format!("error generating rsa key: {error}")))
}

fn request(args: &[Value], ca: bool) -> std::result::Result<Request, String> {
    let name = text_at(args, 0);
    if ca {
        return Ok(Request {
            name,
            dns: Vec::new(),
            ips: Vec::new(),
            days: int_at(args, 1),
            ca,
        });
    }
    let mut ips = Vec::new();
    for item in args[1].items().unwrap_or_default() {
        let Value::Str(text) = &item else {
            return Err(format!("error parsing ip: {} is not a string", shown(&item)));
        };
        let text = text.to_text();
        ips.push(text.parse().map_err(|_| format!("error parsing ip: {text}"))?);
    }
    let mut dns = Vec::new();
    for item in args[2].items().unwrap_or_default() {
        let Value::Str(text) = &item else {
            return Err(format!(
                "error processing alternate dns name: {} is not a string",
                shown(&item)
            ));
        };
        if !text.as_bytes().is_ascii() {
            let text = crate::text::quote(text);
            return Err(format!(
                "error creating certificate: x509: {text} cannot be encoded as an IA5String"
            ));
        }
        dns.push(text.to_text().into_owned());
    }
    Ok(Request {
        name,
        dns,
        ips,
        days: int_at(args, 3),
        ca,
    })
}

fn shown(value: &Value) -> String {
    nave_gotemplate::sprint(std::slice::from_ref(value), 1 << 16)
        .map_or_else(|_| "…".to_owned(), |text| text.to_string())
}

fn issuer(value: &Value) -> std::result::Result<Issuer, String> {
    let certificate = match value {
        Value::Object(object) => object.as_any().downcast_ref::<Certificate>(),
        _ => None,
    };
    let (cert, key) = certificate.map_or(("", ""), |certificate| (&certificate.cert, &certificate.key));
    let block = pem::decode(cert).ok_or("unable to decode certificate")?;
    let parsed = Parsed::read(&block.bytes)
        .ok_or("error parsing certificate: decodedSignerCert.Bytes: x509: malformed certificate")?;
    let key = Key::from_pem(key).map_err(|error| format!("error parsing private key: {error}"))?;
    Ok(Issuer {
        subject: parsed.subject,
        public_info: parsed.public_info,
        key_id: parsed.key_id,
        key,
    })
}

fn custom(cert: &[u8], key: &[u8]) -> std::result::Result<Certificate, String> {
    let cert = decode_base64(cert).map_err(|_| "unable to decode base64 certificate")?;
    let key = decode_base64(key).map_err(|_| "unable to decode base64 private key")?;
    let (cert, key) = (String::from_utf8_lossy(&cert), String::from_utf8_lossy(&key));
    let block = pem::decode(&cert).ok_or("unable to decode certificate")?;
    Parsed::read(&block.bytes).ok_or("error parsing certificate: decodedCert.Bytes: x509: malformed certificate")?;
    Key::from_pem(&key).map_err(|error| format!("error parsing private key: {error}"))?;
    Ok(Certificate {
        cert: cert.into_owned(),
        key: key.into_owned(),
    })
}

fn make(
    request: &Request,
    key: &Key,
    issuer: Option<&Issuer>,
    now: &GoTime,
    random: &Shared,
) -> std::result::Result<Certificate, String> {
    let creating = |error: String| format!("error creating certificate: {error}");
    let signer = issuer.map_or(key, |issuer| &issuer.key);
    if let Some(issuer) = issuer
        && issuer.key.public_info().map_err(creating)? != issuer.public_info
    {
        return Err(creating(
            "x509: provided PrivateKey doesn't match parent's PublicKey".to_owned(),
        ));
    }
    let serial: [u8; 16] = random.borrow_mut().bytes();
    let subject = distinguished_name(&request.name);
    let issuer_name = issuer.map_or(&subject, |issuer| &issuer.subject);
    let algorithm = signer.signature_algorithm().map_err(creating)?;
    let public_info = key.public_info().map_err(creating)?;
    let until = now.plus(request.days.wrapping_mul(86_400_000_000_000));
    let issuer_key_id = issuer
        .filter(|_| *issuer_name != subject)
        .map_or(&[][..], |issuer| &issuer.key_id);
    let body = der::sequence(&[
        &der::element(0xA0, &der::integer(&[2])),
        &der::integer(&serial),
        &algorithm,
        issuer_name,
        &der::sequence(&[&time(now), &time(&until)]),
        &subject,
        &public_info,
        &der::element(0xA3, &extensions(request, &public_info, issuer_key_id)),
    ]);
    let signature = signer.sign(&body).map_err(creating)?;
    let whole = der::sequence(&[&body, &algorithm, &der::bits(&signature)]);
    Ok(Certificate {
        cert: pem::encode("CERTIFICATE", &whole),
        key: key.to_pem()?,
    })
}

/// A name of which only the common name is known.
fn distinguished_name(name: &str) -> Vec<u8> {
    const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    const PRINTABLE_STRING: u8 = 0x13;
    const UTF8_STRING: u8 = 0x0C;
    if name.is_empty() {
        return der::sequence(&[]);
    }
    let printable = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte));
    let text = der::element(if printable { PRINTABLE_STRING } else { UTF8_STRING }, name.as_bytes());
    let attribute = der::sequence(&[&der::element(der::OID, COMMON_NAME), &text]);
    der::sequence(&[&der::element(0x31, &attribute)])
}

fn time(at: &GoTime) -> Vec<u8> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    if (1950..2050).contains(&at.civil().year) {
        der::element(UTC_TIME, at.format("060102150405Z").as_bytes())
    } else {
        der::element(GENERALIZED_TIME, at.format("20060102150405Z").as_bytes())
    }
}

fn extensions(request: &Request, public_info: &[u8], issuer_key_id: &[u8]) -> Vec<u8> {
    const TRUE: &[u8] = &[1, 1, 0xFF];
    let extension = |oid: &[u8], critical: bool, content: &[u8]| {
        der::sequence(&[
            &der::element(der::OID, oid),
            if critical { TRUE } else { &[] },
            &der::element(der::OCTET_STRING, content),
        ])
    };
    // Digital signature, key encipherment, and signing certificates.
    let usage: &[u8] = if request.ca { &[2, 0xA4] } else { &[5, 0xA0] };
    let mut all = extension(&[0x55, 0x1D, 0x0F], true, &der::element(der::BIT_STRING, usage));
    let purpose = |last: u8| der::element(der::OID, &[0x2B, 6, 1, 5, 5, 7, 3, last]);
    all.extend(extension(
        &[0x55, 0x1D, 0x25],
        false,
        &der::sequence(&[&purpose(1), &purpose(2)]),
    ));
    let constraints = if request.ca {
        der::sequence(&[TRUE])
    } else {
        der::sequence(&[])
    };
    all.extend(extension(&[0x55, 0x1D, 0x13], true, &constraints));
    if request.ca {
        let id = der::element(der::OCTET_STRING, &key_id(public_info));
        all.extend(extension(&[0x55, 0x1D, 0x0E], false, &id));
    }
    if !issuer_key_id.is_empty() {
        let id = der::sequence(&[&der::element(0x80, issuer_key_id)]);
        all.extend(extension(&[0x55, 0x1D, 0x23], false, &id));
    }
    if !request.dns.is_empty() || !request.ips.is_empty() {
        let mut names: Vec<u8> = request
            .dns
            .iter()
            .flat_map(|name| der::element(0x82, name.as_bytes()))
            .collect();
        for ip in &request.ips {
            names.extend(match ip.to_canonical() {
                IpAddr::V4(ip) => der::element(0x87, &ip.octets()),
                IpAddr::V6(ip) => der::element(0x87, &ip.octets()),
            });
        }
        let critical = request.name.is_empty();
        all.extend(extension(
            &[0x55, 0x1D, 0x11],
            critical,
            &der::element(der::SEQUENCE, &names),
        ));
    }
    der::element(der::SEQUENCE, &all)
}

/// The identifier of a key: the first 20 bytes of the digest of its bits (RFC 7093, method 1).
fn key_id(public_info: &[u8]) -> Vec<u8> {
    let bits = Reader(public_info).expect(der::SEQUENCE).and_then(|info| {
        let mut reader = info.reader();
        reader.next()?;
        reader.expect(der::BIT_STRING)
    });
    let bits = bits.and_then(|bits| bits.content.get(1..)).unwrap_or_default();
    Sha256::digest(bits)[..20].to_vec()
}

/// What is needed of a certificate that signs.
struct Parsed {
    subject: Vec<u8>,
    public_info: Vec<u8>,
    key_id: Vec<u8>,
}

impl Parsed {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut outer = Reader(bytes);
        let mut whole = outer.expect(der::SEQUENCE)?.reader();
        let mut body = whole.expect(der::SEQUENCE)?.reader();
        whole.expect(der::SEQUENCE)?;
        whole.expect(der::BIT_STRING)?;
        if !outer.0.is_empty() {
            return None;
        }
        let first = body.next()?;
        if first.tag == 0xA0 {
            body.expect(der::INTEGER)?;
        }
        // The algorithm, the issuer and the validity.
        for _ in 0..3 {
            body.expect(der::SEQUENCE)?;
        }
        let subject = body.expect(der::SEQUENCE)?.whole.to_vec();
        let public_info = body.expect(der::SEQUENCE)?.whole.to_vec();
        let mut key_id = Vec::new();
        while let Some(element) = body.next() {
            if element.tag != 0xA3 {
                continue;
            }
            let mut list = element.reader().expect(der::SEQUENCE)?.reader();
            while let Some(extension) = list.expect(der::SEQUENCE) {
                let mut parts = extension.reader();
                let oid = parts.expect(der::OID)?.content;
                let mut content = parts.next()?;
                if content.tag != der::OCTET_STRING {
                    content = parts.expect(der::OCTET_STRING)?;
                }
                if oid == [0x55, 0x1D, 0x0E] {
                    key_id = content.reader().expect(der::OCTET_STRING)?.content.to_vec();
                }
            }
        }
        Some(Self {
            subject,
            public_info,
            key_id,
        })
    }
}

impl Object for Certificate {
    fn type_name(&self) -> &'static str {
        "sprig.certificate"
    }

    fn shape(&self) -> Shape {
        Shape::Struct(vec![
            ("Cert", self.cert.as_str().into()),
            ("Key", self.key.as_str().into()),
        ])
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        let other = other.as_any().downcast_ref::<Self>()?;
        Some(self.cert == other.cert && self.key == other.key)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
