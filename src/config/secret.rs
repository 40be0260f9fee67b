//! Secrets are named, never held: a file or a systemd credential.

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::ConfigError;

/// Where a secret lies: a file, or a systemd credential. The secret itself is never part of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file readable by its owner only.
    File(PathBuf),
    /// `$CREDENTIALS_DIRECTORY/NAME`.
    Credential(String),
}

impl SecretSource {
    /// Where the secret lies on disk.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Credential(name) => std::env::var_os("CREDENTIALS_DIRECTORY")
                .map(PathBuf::from)
                .unwrap_or_else(|| PathBuf::from("/run/credentials/ringfence.service"))
                .join(name),
        }
    }

    /// Reads a one-line secret such as a password; the trailing line break is not part of it.
    pub fn read(&self, key: &'static str) -> Result<SecretString, ConfigError> {
        let place = self.path();
        let remedy = match self {
            Self::File(_) => {
                "write it there, readable for the user the daemon runs as and for nobody else (`chmod 600`)"
            }
            Self::Credential(_) => {
                "give the unit LoadCredential=, or write the path of a file instead of credential:NAME"
            }
        };
        let private = match self {
            Self::File(path) => owners_alone(path),
            // systemd hands it to the unit's user, by an access list that shows in the mode.
            Self::Credential(_) => Ok(()),
        };
        let read = private.and_then(|()| std::fs::read_to_string(&place));
        let secret = read.and_then(|text| match text.trim_end_matches(['\r', '\n']) {
            "" => Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty")),
            secret => Ok(SecretString::from(secret)),
        });
        secret.map_err(|source| ConfigError::Secret {
            key,
            place,
            source,
            remedy,
        })
    }
}

/// What others can read is no secret.
fn owners_alone(path: &Path) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("others may read it, its mode is {mode:04o}"),
    ))
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.strip_prefix("credential:") {
            Some("") => Err(D::Error::custom("credential: lacks its name")),
            Some(name) if name.contains('/') => {
                Err(D::Error::custom("a credential's name has no slash"))
            }
            Some(name) => Ok(Self::Credential(name.to_owned())),
            None if text.starts_with('/') || text.starts_with("./") => Ok(Self::File(text.into())),
            None => Err(D::Error::custom(
                "write the path of a file (/… or ./…) or credential:NAME; the secret itself does not belong here",
            )),
        }
    }
}
