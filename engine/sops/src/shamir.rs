//! A secret from its shares: Shamir's scheme over the field with 256 elements that AES uses.

/// Joins shares, each one byte per byte of the secret and its own x behind them.
///
/// `None` when there are fewer than two, when lengths differ, or when two have one x.
pub(crate) fn combine(shares: &[impl AsRef<[u8]>]) -> Option<Vec<u8>> {
    let length = shares.first()?.as_ref().len();
    if shares.len() < 2 || length < 2 || shares.iter().any(|share| share.as_ref().len() != length) {
        return None;
    }
    let xs: Vec<u8> = shares.iter().map(|share| share.as_ref()[length - 1]).collect();
    if xs.iter().enumerate().any(|(place, x)| xs[..place].contains(x)) {
        return None;
    }
    // The secret is the polynomial's value at 0: each share weighs the product of x_j / (x_i - x_j).
    let weights: Vec<u8> = xs
        .iter()
        .map(|own| {
            xs.iter()
                .filter(|other| *other != own)
                .fold(1, |weight, other| times(weight, times(*other, inverse(own ^ other))))
        })
        .collect();
    Some(
        (0..length - 1)
            .map(|place| {
                shares
                    .iter()
                    .zip(&weights)
                    .fold(0, |sum, (share, weight)| sum ^ times(share.as_ref()[place], *weight))
            })
            .collect(),
    )
}

/// The product modulo x⁸ + x⁴ + x³ + x + 1, without a branch or table that would show the factors.
fn times(a: u8, b: u8) -> u8 {
    (0..8).rev().fold(0_u8, |sum, bit| {
        let doubled = (sum << 1) ^ (0x1b & (sum >> 7).wrapping_neg());
        doubled ^ (a & (b >> bit & 1).wrapping_neg())
    })
}

/// The 254th power, which is the inverse of all but 0.
fn inverse(a: u8) -> u8 {
    let (mut power, mut product) = (a, 1);
    // 254 is seven ones and a zero in binary.
    for _ in 0..7 {
        power = times(power, power);
        product = times(product, power);
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares of a secret with given coefficients.
    fn split(secret: &[u8], coefficients: &[u8], shares: u8) -> Vec<Vec<u8>> {
        (1..=shares)
            .map(|x| {
                let mut share: Vec<u8> = secret
                    .iter()
                    .map(|byte| {
                        let above = coefficients.iter().rev().fold(0, |sum, c| times(sum, x) ^ c);
                        byte ^ times(above, x)
                    })
                    .collect();
                share.push(x);
                share
            })
            .collect()
    }

    #[test]
    fn every_number_but_zero_has_an_inverse() {
        assert_eq!(times(0x57, 0x83), 0xc1);
        assert_eq!(inverse(0), 0);
        for a in 1..=255 {
            assert_eq!(times(a, inverse(a)), 1, "{a}");
        }
    }

    #[test]
    fn any_shares_up_to_the_threshold_give_the_secret() {
        let secret = b"the data key of a file, 32 bytes";
        let shares = split(secret, &[7, 200], 4);
        for chosen in [[0, 1, 2], [3, 1, 0], [1, 2, 3]] {
            let chosen: Vec<&Vec<u8>> = chosen.iter().map(|place| &shares[*place]).collect();
            assert_eq!(combine(&chosen).as_deref(), Some(&secret[..]));
        }
        assert_eq!(combine(&shares).as_deref(), Some(&secret[..]));
        assert_ne!(combine(&shares[..2]).as_deref(), Some(&secret[..]));
    }

    #[test]
    fn shares_that_cannot_be_joined_are_refused() {
        assert_eq!(combine(&[] as &[Vec<u8>]), None);
        assert_eq!(combine(&[vec![1, 1]]), None);
        assert_eq!(combine(&[vec![1, 1], vec![2, 1]]), None);
        assert_eq!(combine(&[vec![1, 1], vec![2, 3, 2]]), None);
        assert_eq!(combine(&[vec![1], vec![2]]), None);
    }
}
