//! Text of values as Go's fmt prints them.

pub(crate) fn quote(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}
