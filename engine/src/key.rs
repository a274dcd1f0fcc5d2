//! Key files: the repository's master key, sealed with a password.
//!
//! ```json
//! {"created":…,"username":…,"hostname":…,"kdf":"scrypt","N":65536,"r":8,"p":1,"salt":BASE64,"data":BASE64}
//! ```
//! `data` opens, with the key that scrypt makes of password and salt, to `{"mac":{"k":…,"r":…},"encrypt":…}`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::encoding;
use crate::error::{Error, Result};
use crate::id::KeyId;
use crate::limits::{SCRYPT_MEMORY_MAX, SCRYPT_WORK_MAX};
use crate::seal::{SealKey, clamp, fill_random};
use crate::storage::{Bytes, FileKind, FileName, Storage};

/// scrypt's cost for new keys: 64 MiB and some tenths of a second.
const SCRYPT_LOG_N: u8 = 16;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;

#[derive(Serialize, Deserialize)]
pub(crate) struct KeyFile {
    // For the record only: rustic leaves these out.
    #[serde(default)]
    pub(crate) created: Option<String>,
    #[serde(default)]
    pub(crate) username: Option<String>,
    #[serde(default)]
    pub(crate) hostname: Option<String>,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    #[serde(with = "encoding::base64_text")]
    salt: Vec<u8>,
    #[serde(with = "encoding::base64_text")]
    data: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct MasterKey {
    mac: MacKey,
    #[serde(with = "encoding::base64_text")]
    encrypt: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct MacKey {
    #[serde(with = "encoding::base64_text")]
    k: Vec<u8>,
    #[serde(with = "encoding::base64_text")]
    r: Vec<u8>,
}

/// Who makes a key, for the record in its file.
#[derive(Clone, Debug)]
pub struct KeyOwner<'a> {
    /// The machine.
    pub hostname: &'a str,
    /// The user.
    pub username: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// Seals the master key with a password and writes it as a key file.
pub(crate) fn write_key(
    storage: &dyn Storage,
    master: &SealKey,
    password: &[u8],
    owner: &KeyOwner<'_>,
) -> Result<KeyId> {
    let mut salt = vec![0; 64];
    fill_random(&mut salt)?;
    let secret = derive(password, &salt, SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P)?;
    let plain = MasterKey {
        mac: MacKey { k: master.mac_k.to_vec(), r: master.mac_r.to_vec() },
        encrypt: master.encrypt.to_vec(),
    };
    let file = KeyFile {
        created: Some(owner.now.to_string()),
        username: Some(owner.username.to_owned()),
        hostname: Some(owner.hostname.to_owned()),
        kdf: "scrypt".to_owned(),
        n: 1 << SCRYPT_LOG_N,
        r: SCRYPT_R,
        p: SCRYPT_P,
        salt,
        data: secret.seal(&to_json(&plain)?)?,
    };
    let bytes = to_json(&file)?;
    let id = KeyId::of(&bytes);
    storage.write(&FileName::new(FileKind::Key, id.0), &mut Bytes::new(&bytes))?;
    Ok(id)
}

/// Tries the password on every key file and returns the first that opens, with the master key in it.
///
/// A damaged key file does not keep another from opening; it is named only if none opens.
pub(crate) fn find_key(storage: &dyn Storage, password: &[u8]) -> Result<(KeyId, SealKey)> {
    let mut damage = None;
    let mut tried = 0;
    for (name, _) in storage.list(FileKind::Key)? {
        match open_key(storage, &name, password) {
            Ok(Some(key)) => return Ok((KeyId(name.id), key)),
            Ok(None) => tried += 1,
            Err(error) => damage = Some(error),
        }
    }
    match damage {
        Some(error) => Err(error),
        None if tried == 0 => {
            Err(Error::damaged(format!("the repository at {}", storage.location()), "it has no key file"))
        }
        None => Err(Error::WrongPassword { location: storage.location() }),
    }
}

/// Opens one key file; `None` if the password is not its own.
pub(crate) fn open_key(storage: &dyn Storage, name: &FileName, password: &[u8]) -> Result<Option<SealKey>> {
    let damaged =
        |problem: &dyn std::fmt::Display| Error::damaged(format!("{name} in {}", storage.location()), problem);
    let bytes = storage.read(name)?;
    let file = decode_key_file(&bytes).map_err(|error| damaged(&error))?;
    let log_n = log_n(&file).map_err(|problem| damaged(&problem))?;
    let secret = derive(password, &file.salt, log_n, file.r, file.p)?;
    let Some(plain) = secret.open(&file.data) else {
        // What opens is authentic under any name; what does not may have been changed.
        let whole = crate::id::sha256(&bytes) == name.id;
        return if whole { Ok(None) } else { Err(damaged(&"its contents do not match its name")) };
    };
    let master: MasterKey = serde_json::from_slice(&plain).map_err(|error| damaged(&error))?;
    let key = master.into_seal_key().ok_or_else(|| damaged(&"a part of the key has the wrong length"))?;
    Ok(Some(key))
}

/// Decodes a key file; total over all bytes.
pub(crate) fn decode_key_file(bytes: &[u8]) -> Result<KeyFile, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// Decodes a key file, checks what it asks for, and that it comes back; for fuzzing.
pub(crate) fn check_key_file(bytes: &[u8]) -> Result<(), String> {
    let file = decode_key_file(bytes).map_err(|error| error.to_string())?;
    let again = to_json(&file).map_err(|error| error.to_string())?;
    let file_again = decode_key_file(&again).map_err(|error| error.to_string())?;
    assert_eq!(to_json(&file_again).ok(), Some(again), "a key file has to come back");
    log_n(&file).map(|_| ())
}

/// Checks the cost that a key file asks for against our bounds and returns the logarithm of `N`.
fn log_n(file: &KeyFile) -> Result<u8, String> {
    if file.kdf != "scrypt" {
        return Err(format!("its key derivation `{}` is not known", file.kdf));
    }
    if !file.n.is_power_of_two() || file.n < 2 || file.r == 0 || file.p == 0 {
        return Err("its scrypt parameters are not valid".to_owned());
    }
    // scrypt holds N blocks of 128 r bytes, and p more; it passes over the former once for each of the latter.
    let (n, block, p) = (u128::from(file.n), 128 * u128::from(file.r), u128::from(file.p));
    let (memory, work) = ((n + p) * block, n * p);
    if memory > u128::from(SCRYPT_MEMORY_MAX) || work.saturating_mul(block) > u128::from(SCRYPT_WORK_MAX) {
        return Err(format!(
            "it asks for more than {SCRYPT_MEMORY_MAX} bytes of memory or {SCRYPT_WORK_MAX} bytes of work"
        ));
    }
    u8::try_from(file.n.ilog2()).map_err(|error| error.to_string())
}

impl MasterKey {
    fn into_seal_key(self) -> Option<SealKey> {
        let mac_k = self.mac.k.try_into().ok()?;
        let mac_r = self.mac.r.try_into().ok()?;
        Some(SealKey::new(self.encrypt.try_into().ok()?, mac_k, clamp(mac_r)))
    }
}

/// Makes the key that seals the master key: 64 bytes of scrypt, as `encrypt ‖ k ‖ r`.
fn derive(password: &[u8], salt: &[u8], log_n: u8, r: u32, p: u32) -> Result<SealKey> {
    let unusable = |error: &dyn std::fmt::Display| Error::misuse(format!("scrypt cannot be run: {error}"));
    let params = scrypt::Params::new(log_n, r, p).map_err(|error| unusable(&error))?;
    let mut secret = [0; 64];
    scrypt::scrypt(password, salt, &params, &mut secret).map_err(|error| unusable(&error))?;
    let (encrypt, mac) = secret.split_at(32);
    let (mac_k, mac_r) = mac.split_at(16);
    let part = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).expect("a half of 32 bytes is 16 bytes");
    let encrypt = <[u8; 32]>::try_from(encrypt).expect("the first half of 64 bytes is 32 bytes");
    Ok(SealKey::new(encrypt, part(mac_k), clamp(part(mac_r))))
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::misuse(format!("a key cannot be written as JSON: {error}")))
}
