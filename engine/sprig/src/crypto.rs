//! Sprig's cryptography: digests, passwords, keys, certificates, AES.

mod aes_cbc;
mod certificates;
mod der;
mod keys;
mod passwords;
mod pem;

use std::rc::Rc;

use nave_gotemplate::{FunctionError, GoType, IntKind, Value};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use crate::dates::GoTime;
use crate::random::Shared;
use crate::table::{Result, STRING, Table, str_at, text_at};

pub(crate) fn register(table: &mut Table<'_>, now: &GoTime, random: &Shared) {
    let mut digest = |name: &str, f: fn(&[u8]) -> String| {
        table.add(name, &[STRING], move |caller, args| -> Result {
            let text = str_at(args, 0);
            caller.charge((text.len() / 16) as u64)?;
            Ok(f(text.as_bytes()).into())
        });
    };
    digest("sha1sum", |bytes| hex(&Sha1::digest(bytes)));
    digest("sha256sum", |bytes| hex(&Sha256::digest(bytes)));
    digest("sha512sum", |bytes| hex(&Sha512::digest(bytes)));
    digest("adler32sum", |bytes| adler32(bytes).to_string());

    let shared = Rc::clone(random);
    table.add("bcrypt", &[STRING], move |caller, args| {
        caller.charge(passwords::BCRYPT_FUEL)?;
        Ok(passwords::bcrypt(str_at(args, 0).as_bytes(), &shared).into())
    });
    let shared = Rc::clone(random);
    table.add("htpasswd", &[STRING, STRING], move |caller, args| {
        let user = text_at(args, 0);
        if user.contains(':') {
            return Ok(format!("invalid username: {user}").into());
        }
        caller.charge(passwords::BCRYPT_FUEL)?;
        Ok(format!("{user}:{}", passwords::bcrypt(str_at(args, 1).as_bytes(), &shared)).into())
    });
    table.add(
        "derivePassword",
        &[GoType::Int(IntKind::Uint32), STRING, STRING, STRING, STRING],
        |caller, args| {
            caller.charge(passwords::SCRYPT_FUEL)?;
            let counter = args[0]
                .as_unsigned()
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or_default();
            let at = |index| str_at(args, index);
            let (password, user, site) = (at(2), at(3), at(4));
            Ok(passwords::derive(
                counter,
                &text_at(args, 1),
                password.as_bytes(),
                user.as_bytes(),
                site.as_bytes(),
            )
            .into())
        },
    );
    let shared = Rc::clone(random);
    table.add("genPrivateKey", &[STRING], move |caller, args| {
        let kind = text_at(args, 0);
        caller.charge(keys::fuel(&kind))?;
        Ok(keys::generate_pem(&kind, &shared).into())
    });
    let shared = Rc::clone(random);
    table.add("encryptAES", &[STRING, STRING], move |caller, args| {
        let text = str_at(args, 1);
        caller.charge(text.len() as u64)?;
        caller.charge_bytes(text.len().saturating_mul(2))?;
        let iv = if text.is_empty() {
            [0; 16]
        } else {
            shared.borrow_mut().bytes()
        };
        Ok(aes_cbc::encrypt(str_at(args, 0).as_bytes(), text.as_bytes(), iv).into())
    });
    table.add("decryptAES", &[STRING, STRING], |caller, args| {
        let text = str_at(args, 1);
        caller.charge(text.len() as u64)?;
        caller.charge_bytes(text.len())?;
        aes_cbc::decrypt(str_at(args, 0).as_bytes(), text.as_bytes())
            .map(Value::string)
            .map_err(FunctionError::new)
    });
    certificates::register(table, now, random);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1u32, 0u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    high << 16 | low
}
