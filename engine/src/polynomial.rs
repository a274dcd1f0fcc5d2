//! The irreducible polynomial over GF(2) that decides where a repository's files are cut.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// An irreducible polynomial of degree 53, one bit a coefficient.
///
/// Every repository draws its own, so that the sizes of its blobs tell nothing about files that somebody else also
/// has. The text form is restic's: lower-case hex without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Polynomial(u64);

impl Polynomial {
    /// The degree of every polynomial that restic and rustic draw: the largest prime that leaves room for one more
    /// byte in 64 bits.
    pub const DEGREE: u32 = 53;

    /// Draws a polynomial; `fill` supplies random bytes.
    ///
    /// # Errors
    ///
    /// Whatever `fill` fails with, and misuse if it supplies anything but random bytes: one in 27 candidates is
    /// irreducible, so a million of them in vain are no accident.
    pub fn random(mut fill: impl FnMut(&mut [u8]) -> Result<()>) -> Result<Self> {
        const TRIES_MAX: u32 = 1_000_000;
        for _ in 0..TRIES_MAX {
            let mut bytes = [0; 8];
            fill(&mut bytes)?;
            // The highest bit fixes the degree; without the lowest, x would be a factor.
            let below = (1 << Self::DEGREE) - 1;
            let candidate = u64::from_le_bytes(bytes) & below | 1 << Self::DEGREE | 1;
            if is_irreducible(candidate) {
                return Ok(Self(candidate));
            }
        }
        Err(Error::misuse("the source of random bytes repeats itself"))
    }

    /// Returns the coefficients, the constant term in the lowest bit.
    #[must_use]
    pub fn coefficients(self) -> u64 {
        self.0
    }

    /// Returns the remainder of `dividend` divided by this polynomial.
    #[must_use]
    pub fn remainder_of(self, dividend: u64) -> u64 {
        remainder(dividend, self.0)
    }
}

impl TryFrom<u64> for Polynomial {
    type Error = Error;

    fn try_from(coefficients: u64) -> Result<Self> {
        if degree(coefficients) != Some(Self::DEGREE) {
            return Err(Error::damaged(
                "the chunker polynomial",
                format_args!("{coefficients:x} is not of degree {}", Self::DEGREE),
            ));
        }
        if !is_irreducible(coefficients) {
            return Err(Error::damaged("the chunker polynomial", format_args!("{coefficients:x} is reducible")));
        }
        Ok(Self(coefficients))
    }
}

impl fmt::Display for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for Polynomial {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || Error::damaged("the chunker polynomial", format_args!("`{text}` is not a number in hex"));
        // The standard library would also take a leading plus sign.
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refused());
        }
        Self::try_from(u64::from_str_radix(text, 16).map_err(|_| refused())?)
    }
}

impl Serialize for Polynomial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Polynomial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Tests irreducibility as Ben-Or does: a polynomial f of degree n has no factor of degree i exactly if
/// x^(2^i) − x and f have no common divisor; the smallest factor has at most half the degree.
fn is_irreducible(candidate: u64) -> bool {
    const X: u64 = 2;
    let Some(degree) = degree(candidate) else { return false };
    let mut power = X;
    (1..=degree / 2).all(|_| {
        power = product(power, power, candidate);
        greatest_common_divisor(candidate, power ^ X) == 1
    })
}

fn degree(polynomial: u64) -> Option<u32> {
    polynomial.checked_ilog2()
}

fn remainder(mut dividend: u64, divisor: u64) -> u64 {
    let Some(lowest) = degree(divisor) else { return dividend };
    while let Some(highest) = degree(dividend).filter(|&highest| highest >= lowest) {
        dividend ^= divisor << (highest - lowest);
    }
    dividend
}

/// Multiplies two polynomials that are smaller than `modulus`, whose degree is at most 62.
fn product(mut a: u64, mut b: u64, modulus: u64) -> u64 {
    let mut sum = 0;
    while b != 0 {
        if b & 1 == 1 {
            sum ^= a;
        }
        a = remainder(a << 1, modulus);
        b >>= 1;
    }
    sum
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, remainder(a, b));
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The polynomial of restic's own tests.
    const KNOWN: u64 = 0x3D_A335_8B4D_C173;

    #[test]
    fn the_polynomial_of_restics_tests_is_accepted() {
        assert_eq!(Polynomial::try_from(KNOWN).unwrap().coefficients(), KNOWN);
    }

    #[test]
    fn irreducibility_agrees_with_trial_division() {
        for candidate in 2_u64..1 << 10 {
            let by_division = (2..candidate)
                .take_while(|&divisor| degree(divisor) < degree(candidate))
                .all(|divisor| remainder(candidate, divisor) != 0);
            assert_eq!(is_irreducible(candidate), by_division, "{candidate:x}");
        }
    }

    #[test]
    fn a_product_of_two_factors_is_refused() {
        // (x^26 + x + 1)(x^27 + x^2 + 1), multiplied without reduction: both factors fit into 64 bits together.
        let product = (0..28)
            .filter(|bit| (1_u64 << 27 | 0b101) >> bit & 1 == 1)
            .fold(0, |sum, bit| sum ^ (1_u64 << 26 | 0b11) << bit);
        assert_eq!(degree(product), Some(53));
        let refused = Polynomial::try_from(product).unwrap_err();
        assert!(refused.to_string().contains("reducible"), "{refused}");
    }

    #[test]
    fn text_is_lower_case_hex_without_padding_and_back() {
        let known = Polynomial::try_from(KNOWN).unwrap();
        assert_eq!(known.to_string(), "3da3358b4dc173");
        assert_eq!("3DA3358B4DC173".parse::<Polynomial>().unwrap(), known);
        assert_eq!(serde_json::to_string(&known).unwrap(), "\"3da3358b4dc173\"");
        assert_eq!(serde_json::from_str::<Polynomial>("\"3da3358b4dc173\"").unwrap(), known);
    }

    #[test]
    fn text_that_is_no_polynomial_is_refused() {
        for text in ["", "+3da3358b4dc173", "0x3da3358b4dc173", "3da3358b4dc1731234567", "7", "3da3358b4dc172"] {
            assert!(text.parse::<Polynomial>().is_err(), "{text}");
        }
    }

    #[test]
    fn drawn_polynomials_are_valid_and_follow_the_random_bytes() {
        let mut state = 7_u64;
        let mut fill = |bytes: &mut [u8]| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.copy_from_slice(&state.to_le_bytes());
            Ok(())
        };
        let (first, second) = (Polynomial::random(&mut fill).unwrap(), Polynomial::random(&mut fill).unwrap());
        assert_ne!(first, second);
        assert_eq!(Polynomial::try_from(first.coefficients()).unwrap(), first);
    }

    #[test]
    fn a_broken_source_of_random_bytes_is_an_error() {
        assert!(Polynomial::random(|_| Err(Error::misuse("none"))).is_err());
    }
}
