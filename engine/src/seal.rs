//! Sealing: AES-256 in counter mode and a Poly1305-AES MAC over the ciphertext, as restic's design has it.
//!
//! ```text
//! sealed = nonce (16) ‖ ciphertext (as long as the plaintext) ‖ MAC (16)
//! ```

use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use aes::{Aes128, Aes256};
use poly1305::Poly1305;

use crate::error::{Error, Result};

/// By how much sealing makes bytes longer.
pub const OVERHEAD: usize = 32;

pub(crate) const NONCE: usize = 16;
pub(crate) const MAC: usize = 16;

/// The three secrets that seal every file and blob of a repository.
#[derive(Clone)]
pub(crate) struct SealKey {
    pub(crate) encrypt: [u8; 32],
    pub(crate) mac_k: [u8; 16],
    pub(crate) mac_r: [u8; 16],
    // Expanded once; expanding them for each blob costs more than sealing a small one.
    cipher: Aes256,
    mac: Aes128,
}

impl SealKey {
    /// Returns whether it is the same key.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.encrypt, self.mac_k, self.mac_r) == (other.encrypt, other.mac_k, other.mac_r)
    }

    pub(crate) fn new(encrypt: [u8; 32], mac_k: [u8; 16], mac_r: [u8; 16]) -> Self {
        Self { encrypt, mac_k, mac_r, cipher: Aes256::new(&encrypt.into()), mac: Aes128::new(&mac_k.into()) }
    }

    /// Makes a new key from the system's randomness.
    pub(crate) fn generate() -> Result<Self> {
        let mut secret = [0; 64];
        fill_random(&mut secret)?;
        let (encrypt, mac) = secret.split_at(32);
        let (mac_k, mac_r) = mac.split_at(16);
        let part = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).expect("a half of 32 bytes is 16 bytes");
        let encrypt = <[u8; 32]>::try_from(encrypt).expect("the first half of 64 bytes is 32 bytes");
        Ok(Self::new(encrypt, part(mac_k), clamp(part(mac_r))))
    }

    /// Appends the sealed form of `plain` to `out`.
    pub(crate) fn seal_into(&self, plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut nonce = [0; NONCE];
        fill_random(&mut nonce)?;
        let start = out.len();
        out.reserve_exact(plain.len() + OVERHEAD);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let mac = self.encrypt(&nonce, &mut out[start + NONCE..]);
        out.extend_from_slice(&mac);
        Ok(())
    }

    /// Seals what lies behind room for the nonce, and appends the MAC. The nonce must not be used again.
    pub(crate) fn seal_in_place(&self, nonce: [u8; NONCE], bytes: &mut Vec<u8>) {
        let (room, plain) = bytes.split_at_mut(NONCE);
        room.copy_from_slice(&nonce);
        let mac = self.encrypt(&nonce, plain);
        bytes.extend_from_slice(&mac);
    }

    /// Encrypts in place; returns the MAC.
    fn encrypt(&self, nonce: &[u8; NONCE], bytes: &mut [u8]) -> [u8; MAC] {
        self.apply(nonce, bytes);
        self.mac_of(nonce, bytes)
    }

    /// Returns the sealed form of `plain`.
    pub(crate) fn seal(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.seal_into(plain, &mut out)?;
        Ok(out)
    }

    /// Returns what was sealed, or `None` if these bytes were not sealed with this key.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        self.open_into(sealed, &mut plain).then_some(plain)
    }

    /// Puts what was sealed into `plain`, in the place of what is there; returns whether it was sealed with this key.
    pub(crate) fn open_into(&self, sealed: &[u8], plain: &mut Vec<u8>) -> bool {
        let Some((nonce, rest)) = sealed.split_first_chunk() else { return false };
        let Some((ciphertext, mac)) = rest.split_last_chunk() else { return false };
        if !same(&self.mac_of(nonce, ciphertext), mac) {
            return false;
        }
        plain.clear();
        plain.extend_from_slice(ciphertext);
        self.apply(nonce, plain);
        true
    }

    fn apply(&self, nonce: &[u8; NONCE], bytes: &mut [u8]) {
        let core = ctr::CtrCore::<Aes256, ctr::flavors::Ctr128BE>::inner_iv_init(self.cipher.clone(), nonce.into());
        StreamCipherCoreWrapper::from_core(core).apply_keystream(bytes);
    }

    /// Poly1305 under the key `r ‖ AES(k, nonce)`.
    fn mac_of(&self, nonce: &[u8; NONCE], ciphertext: &[u8]) -> [u8; MAC] {
        let mut block = (*nonce).into();
        self.mac.encrypt_block(&mut block);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&self.mac_r);
        key[16..].copy_from_slice(&block);
        Poly1305::new(&key.into()).compute_unpadded(ciphertext).into()
    }
}

/// Nonces for one thread, taken from the system's randomness many at a time: a call for each costs as much as sealing a
/// small blob.
pub(crate) struct Nonces {
    random: [u8; NONCE * Self::MANY],
    /// Bytes of it that were not used yet.
    left: usize,
}

impl Nonces {
    const MANY: usize = 64;

    /// Returns a nonce that was not used before.
    pub(crate) fn next(&mut self) -> Result<[u8; NONCE]> {
        if self.left == 0 {
            fill_random(&mut self.random)?;
            self.left = self.random.len();
        }
        self.left -= NONCE;
        Ok(*self.random[self.left..].first_chunk().expect("a whole number of nonces is left"))
    }
}

impl Default for Nonces {
    fn default() -> Self {
        Self { random: [0; NONCE * Self::MANY], left: 0 }
    }
}

/// Fills a buffer from the system's randomness.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| Error::Storage {
        message: format!("the system gave no random bytes: {error}"),
        class: crate::Class::Transient,
    })
}

/// Clears the bits of `r` that Poly1305 requires to be zero.
pub(crate) fn clamp(mut r: [u8; 16]) -> [u8; 16] {
    for index in [3, 7, 11, 15] {
        r[index] &= 0x0f;
    }
    for index in [4, 8, 12] {
        r[index] &= 0xfc;
    }
    r
}

/// Compares without telling by the time taken how much was equal.
fn same(a: &[u8; MAC], b: &[u8; MAC]) -> bool {
    a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let key = SealKey::generate().unwrap();
        for length in [0, 1, 15, 16, 17, 1000] {
            let plain = vec![7; length];
            let sealed = key.seal(&plain).unwrap();
            assert_eq!(sealed.len(), length + OVERHEAD);
            assert_eq!(key.open(&sealed).unwrap(), plain);
            for position in 0..sealed.len() {
                let mut bent = sealed.clone();
                bent[position] ^= 1;
                assert!(key.open(&bent).is_none(), "a flipped bit at {position} of {length} was not noticed");
            }
            assert!(SealKey::generate().unwrap().open(&sealed).is_none());
        }
        assert!(key.open(&[0; OVERHEAD - 1]).is_none());
    }

    #[test]
    fn no_nonce_is_used_twice() {
        let mut nonces = Nonces::default();
        let count = 3 * Nonces::MANY + 1;
        let used: std::collections::HashSet<_> = (0..count).map(|_| nonces.next().unwrap()).collect();
        assert_eq!(used.len(), count);
    }

    #[test]
    fn the_mac_is_poly1305_aes_of_its_author() {
        // A test vector of "The Poly1305-AES message-authentication code", D. J. Bernstein, appendix B.
        let bytes = |text: &str| hex::decode(text).unwrap();
        let array = |text: &str| <[u8; 16]>::try_from(bytes(text)).unwrap();
        let key =
            SealKey::new([0; 32], array("ec074c835580741701425b623235add6"), array("851fc40c3467ac0be05cc20404f3f700"));
        let mac = key.mac_of(&array("fb447350c4e868c52ac3275cf9d4327e"), &bytes("f3f6"));
        assert_eq!(mac.to_vec(), bytes("f4c633c3044fc145f84f335cb81953de"));
    }
}
