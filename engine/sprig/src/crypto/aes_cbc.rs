//! `encryptAES` and `decryptAES`: AES-256 in CBC mode, the password as the key, the vector in front, all in base 64.

use aes::Aes256;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};

use crate::encoding::{decode_base64, encode_base64};

const BLOCK: usize = 16;

/// A password longer than the key is cut off, a shorter one is filled with zeros.
fn cipher(password: &[u8]) -> Aes256 {
    let mut key = [0; 32];
    let len = password.len().min(32);
    key[..len].copy_from_slice(&password[..len]);
    Aes256::new(&key.into())
}

pub(super) fn encrypt(password: &[u8], text: &[u8], iv: [u8; BLOCK]) -> String {
    if text.is_empty() {
        return String::new();
    }
    let cipher = cipher(password);
    let padding = BLOCK - text.len() % BLOCK;
    let mut content = text.to_vec();
    content.resize(text.len() + padding, u8::try_from(padding).expect("at most a block"));
    let mut out = iv.to_vec();
    let mut previous = iv;
    for chunk in content.chunks(BLOCK) {
        let mut block = previous;
        block.iter_mut().zip(chunk).for_each(|(byte, plain)| *byte ^= plain);
        cipher.encrypt_block((&mut block).into());
        out.extend_from_slice(&block);
        previous = block;
    }
    encode_base64(&out)
}

pub(super) fn decrypt(password: &[u8], text: &[u8]) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = decode_base64(text)?;
    let Some((iv, content)) = bytes.split_first_chunk::<BLOCK>() else {
        return Err(format!(
            "runtime error: slice bounds out of range [:{BLOCK}] with capacity {}",
            bytes.len()
        ));
    };
    if content.len() % BLOCK != 0 {
        return Err("crypto/cipher: input not full blocks".to_owned());
    }
    let cipher = cipher(password);
    let mut out = Vec::with_capacity(content.len());
    let mut previous = *iv;
    for chunk in content.chunks_exact(BLOCK) {
        let mut block: [u8; BLOCK] = chunk.try_into().expect("a whole block");
        let next = block;
        cipher.decrypt_block((&mut block).into());
        out.extend(block.iter().zip(previous).map(|(byte, before)| byte ^ before));
        previous = next;
    }
    let Some(padding) = out.last().copied().map(usize::from) else {
        return Err("runtime error: index out of range [-1]".to_owned());
    };
    match out.len().checked_sub(padding) {
        Some(len) => {
            out.truncate(len);
            Ok(out)
        }
        // A wrong password gives a padding of any length.
        None => Err(format!(
            "runtime error: slice bounds out of range [:-{}]",
            padding - out.len()
        )),
    }
}
