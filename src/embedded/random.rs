//! Random ids. Fails only when the system gives no random bytes.

use aws_lc_rs::error::Unspecified;

const LOWER: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const MIXED: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

pub(super) fn bytes<const N: usize>() -> Result<[u8; N], Unspecified> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(bytes)
}

/// The form of Cognito's app client ids: 26 lower-case letters and digits.
pub(super) fn app_client_id() -> Result<String, Unspecified> {
    text(LOWER, 26)
}

/// What follows the Region in Cognito's user pool ids: 9 letters and digits.
pub(super) fn user_pool_suffix() -> Result<String, Unspecified> {
    text(MIXED, 9)
}

/// A UUID of version 4 (RFC 9562, section 5.4).
pub(super) fn uuid() -> Result<String, Unspecified> {
    let mut bytes: [u8; 16] = bytes()?;
    bytes[6] = (bytes[6] & 0x0F) | 0x40;
    bytes[8] = (bytes[8] & 0x3F) | 0x80;
    let digits = hex::encode(bytes);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    Ok(parts.join("-"))
}

/// Bytes beyond the largest multiple of the alphabet's size are thrown away, so that no character is more likely.
fn text(alphabet: &[u8], length: usize) -> Result<String, Unspecified> {
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let block: [u8; 32] = bytes()?;
        let fitting = block.iter().map(|&byte| usize::from(byte)).filter(|&byte| byte < fair);
        text.extend(fitting.take(length - text.len()).map(|byte| char::from(alphabet[byte % alphabet.len()])));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_form() {
        let id = app_client_id().expect("random");
        assert!(id.len() == 26 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{id}");
        let suffix = user_pool_suffix().expect("random");
        assert!(suffix.len() == 9 && suffix.bytes().all(|b| b.is_ascii_alphanumeric()), "{suffix}");
        let uuid = uuid().expect("random");
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&uuid[14..15], "4");
        assert!("89ab".contains(&uuid[19..20]), "{uuid}");
    }

    #[test]
    fn ids_are_not_repeated() {
        let ids: std::collections::BTreeSet<String> = (0..100).map(|_| app_client_id().expect("random")).collect();
        assert_eq!(ids.len(), 100);
    }
}
