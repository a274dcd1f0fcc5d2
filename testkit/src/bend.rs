//! Bending valid bytes in every way, so that a decoder sees what nobody would write.

use crate::seed::Random;

/// Bends valid bytes: a flipped bit, a cut, a piece twice, bytes of meaning in a wrong place, and several of these.
#[must_use]
pub fn bend(sample: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..=random.below(3) {
        let (a, b) = (random.index(bytes.len() + 1), random.index(bytes.len() + 1));
        match random.below(5) {
            0 if a < bytes.len() => bytes[a] ^= 1 << random.below(8),
            1 => bytes.truncate(a),
            2 => {
                let piece = bytes[a.min(b)..a.max(b)].to_vec();
                bytes.splice(a..a, piece);
            }
            3 => drop(bytes.drain(a.min(b)..a.max(b))),
            _ => {
                const PIECES: [&[u8]; 9] = [
                    b"null",
                    b"{",
                    b"[",
                    b"\"",
                    b"-1",
                    b"1e999",
                    b"18446744073709551616",
                    b"\\ud800",
                    b"\xff\xff\xff\xff",
                ];
                let piece = PIECES[random.index(PIECES.len())];
                bytes.splice(a..a, piece.iter().copied());
            }
        }
        bytes.truncate(4 * sample.len() + 64);
    }
    bytes
}
