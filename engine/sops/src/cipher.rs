//! One value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]` and back.

use aes_gcm::aead::consts::{U12, U16, U32};
use aes_gcm::aead::generic_array::{ArrayLength, GenericArray};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::moment::Moment;
use crate::value::Value;

const PREFIX: &[u8] = b"ENC[AES256_GCM,data:";

/// Why a value cannot be decrypted. Names no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    #[error("it is not an encrypted value")]
    NotEncrypted,
    #[error("its {0} is not base64")]
    Base64(&'static str),
    #[error("its iv has an unsupported length")]
    Iv,
    #[error("the data key does not fit, or the value was changed or moved")]
    Forged,
    #[error("its type is unknown")]
    Type,
    #[error("the decrypted text is not {0}")]
    Content(&'static str),
}

/// Decrypts one value; the empty text is its own cipher text. `path` is what binds it to its place.
pub(crate) fn decrypt(text: &[u8], key: &[u8; 32], path: &str) -> Result<Value, CipherError> {
    if text.is_empty() {
        return Ok(Value::Text(Vec::new()));
    }
    let rest = text.strip_prefix(PREFIX).ok_or(CipherError::NotEncrypted)?;
    let rest = std::str::from_utf8(rest).map_err(|_| CipherError::NotEncrypted)?;
    let parts = || {
        // Nothing in base64 is a comma, so that the first of each is the only one.
        let (data, rest) = rest.split_once(",iv:")?;
        let (iv, rest) = rest.split_once(",tag:")?;
        let (tag, rest) = rest.split_once(",type:")?;
        let (kind, _) = rest.rsplit_once(']')?;
        (![data, iv, tag, kind].contains(&"")).then_some((data, iv, tag, kind))
    };
    let (data, iv, tag, kind) = parts().ok_or(CipherError::NotEncrypted)?;
    let decode = |text: &str, what| STANDARD.decode(text).map_err(|_| CipherError::Base64(what));
    let mut sealed = decode(data, "data")?;
    let iv = decode(iv, "iv")?;
    let tag = decode(tag, "tag")?;
    if tag.len() != 16 {
        return Err(CipherError::Forged);
    }
    sealed.extend_from_slice(&tag);
    let payload = Payload {
        msg: &sealed,
        aad: path.as_bytes(),
    };
    let plain = match iv.len() {
        32 => open::<U32>(key, &iv, payload),
        12 => open::<U12>(key, &iv, payload),
        16 => open::<U16>(key, &iv, payload),
        _ => return Err(CipherError::Iv),
    }?;
    typed(plain, kind)
}

fn open<N: ArrayLength<u8>>(key: &[u8; 32], iv: &[u8], payload: Payload<'_, '_>) -> Result<Vec<u8>, CipherError> {
    AesGcm::<Aes256, N>::new(Key::<Aes256>::from_slice(key))
        .decrypt(GenericArray::from_slice(iv), payload)
        .map_err(|_| CipherError::Forged)
}

fn typed(plain: Vec<u8>, kind: &str) -> Result<Value, CipherError> {
    let text = |what| std::str::from_utf8(&plain).map_err(|_| CipherError::Content(what));
    Ok(match kind {
        "str" | "bytes" => Value::Text(plain),
        "comment" => Value::Comment(plain),
        "int" => {
            let what = CipherError::Content("a whole number of 64 bits");
            Value::Int(text("a whole number")?.parse().map_err(|_| what)?)
        }
        "float" => {
            let number = text("a number")?
                .parse()
                .map_err(|_| CipherError::Content("a number"))?;
            Value::Float(number)
        }
        "bool" => match text("a boolean")? {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Value::Bool(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Value::Bool(false),
            _ => return Err(CipherError::Content("a boolean")),
        },
        "time" => {
            let what = CipherError::Content("a point in time");
            Value::Time(Moment::parse(text("a point in time")?).ok_or(what)?.full())
        }
        _ => return Err(CipherError::Type),
    })
}

/// The text form of an encrypted value, for tests of what decrypts it.
#[cfg(test)]
pub(crate) fn encrypt(plain: &[u8], kind: &str, key: &[u8; 32], iv: &[u8; 32], path: &str) -> String {
    let payload = Payload {
        msg: plain,
        aad: path.as_bytes(),
    };
    let sealed = AesGcm::<Aes256, U32>::new(Key::<Aes256>::from_slice(key))
        .encrypt(GenericArray::from_slice(iv), payload)
        .expect("short texts can be encrypted");
    let (data, tag) = sealed.split_at(sealed.len() - 16);
    let encode = |bytes: &[u8]| STANDARD.encode(bytes);
    format!(
        "ENC[AES256_GCM,data:{},iv:{},tag:{},type:{kind}]",
        encode(data),
        encode(iv),
        encode(tag)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn values_keep_their_type() {
        for (plain, kind, wanted) in [
            ("x", "str", Value::text("x")),
            ("-42", "int", Value::Int(-42)),
            ("1.5", "float", Value::Float(1.5)),
            ("True", "bool", Value::Bool(true)),
            ("False", "bool", Value::Bool(false)),
            (
                "2024-01-15T00:00:00Z",
                "time",
                Value::Time("2024-01-15T00:00:00Z".to_owned()),
            ),
            (" note", "comment", Value::Comment(b" note".to_vec())),
        ] {
            let text = encrypt(plain.as_bytes(), kind, &KEY, &[1; 32], "a:b:");
            assert_eq!(decrypt(text.as_bytes(), &KEY, "a:b:"), Ok(wanted), "{kind}");
        }
        assert_eq!(decrypt(b"", &KEY, ""), Ok(Value::text("")));
    }

    #[test]
    fn a_value_is_bound_to_key_and_path() {
        let text = encrypt(b"x", "str", &KEY, &[1; 32], "a:");
        assert_eq!(decrypt(text.as_bytes(), &KEY, "b:"), Err(CipherError::Forged));
        assert_eq!(decrypt(text.as_bytes(), &[8; 32], "a:"), Err(CipherError::Forged));
    }

    #[test]
    fn malformed_values_are_refused() {
        for (text, wanted) in [
            ("x", CipherError::NotEncrypted),
            ("ENC[AES256_GCM,data:,iv:,tag:,type:str]", CipherError::NotEncrypted),
            (
                "ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str",
                CipherError::NotEncrypted,
            ),
            (
                "ENC[AES256_GCM,data:?,iv:eA==,tag:eA==,type:str]",
                CipherError::Base64("data"),
            ),
            (
                "ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]",
                CipherError::Forged,
            ),
            (
                "ENC[AES256_GCM,data:eA==,iv:eA==,tag:AAAAAAAAAAAAAAAAAAAAAA==,type:str]",
                CipherError::Iv,
            ),
        ] {
            assert_eq!(decrypt(text.as_bytes(), &KEY, ""), Err(wanted), "{text}");
        }
        let number = encrypt(b"x", "int", &KEY, &[1; 32], "");
        assert!(matches!(
            decrypt(number.as_bytes(), &KEY, ""),
            Err(CipherError::Content(_))
        ));
        let other = encrypt(b"x", "blob", &KEY, &[1; 32], "");
        assert_eq!(decrypt(other.as_bytes(), &KEY, ""), Err(CipherError::Type));
    }
}
