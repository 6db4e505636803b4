//! Where the master key comes from.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use secrecy::ExposeSecret;

use crate::config::Secrets;
use crate::crypto::master::MasterKey;
use crate::env::{Entropy, random};

/// The master key from the configuration. With an embedded database, a missing key file is made:
/// the first start needs no preparation. With any other it has to be given, since several processes
/// must have the same.
///
/// # Errors
/// One line that says what is wrong; the key is never quoted.
pub fn master_key(secrets: &Secrets, embedded: bool, entropy: &dyn Entropy) -> Result<MasterKey> {
    if let Some(value) = &secrets.master_key {
        return MasterKey::parse(value.expose_secret()).context("secrets.master_key is not valid");
    }
    let Some(path) = &secrets.master_key_file else {
        bail!("set secrets.master_key or secrets.master_key_file");
    };
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let mode = std::fs::metadata(path)?.mode();
            let (writers, readers) = (mode & 0o022, mode & 0o044);
            ensure!(
                writers == 0,
                "the master key file {} can be changed by others: run `chmod 600` on it",
                path.display()
            );
            if readers != 0 {
                // Mounted secrets often come like this, and can't be changed.
                tracing::warn!(file = %path.display(), "others can read the master key file");
            }
            MasterKey::parse(&text)
                .with_context(|| format!("the master key file {} is not valid", path.display()))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && embedded => {
            make(path, entropy).with_context(|| format!("can't make {}", path.display()))
        }
        Err(e) => Err(e).with_context(|| format!("can't read {}", path.display())),
    }
}

/// The earlier master keys.
///
/// # Errors
/// One line that says which can't be read; no key is ever quoted.
pub fn previous(secrets: &Secrets) -> Result<Vec<MasterKey>> {
    let read = |path: &std::path::PathBuf| {
        let text = zeroize::Zeroizing::new(
            std::fs::read_to_string(path)
                .with_context(|| format!("can't read {}", path.display()))?,
        );
        MasterKey::parse(&text)
            .with_context(|| format!("the earlier master key {} is not valid", path.display()))
    };
    secrets.previous_master_key_files.iter().map(read).collect()
}

fn make(path: &Path, entropy: &dyn Entropy) -> Result<MasterKey> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let key = MasterKey::generate(entropy);
    // Whole or not at all, and never over another process's.
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", hex::encode(random::<8>(entropy))));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(key.to_hex().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Ok(MasterKey::parse(&std::fs::read_to_string(path)?)?);
        }
        done => done?,
    }
    tracing::warn!(
        file = %path.display(),
        "made a master key: back it up, without it no stored identity can be opened"
    );
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SeededEntropy;

    fn file(path: &Path) -> Secrets {
        Secrets { master_key_file: Some(path.to_owned()), ..Secrets::default() }
    }

    #[test]
    fn an_embedded_service_makes_its_key_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/master.key");
        let entropy = SeededEntropy::new(1);
        let first = master_key(&file(&path), true, &entropy).unwrap();
        let again = master_key(&file(&path), true, &entropy).unwrap();
        assert_eq!(first.id(), again.id());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn otherwise_it_has_to_be_given_and_kept_to_oneself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let entropy = SeededEntropy::new(1);
        assert!(master_key(&file(&path), false, &entropy).is_err());
        std::fs::write(&path, "ab".repeat(16) + &"cd".repeat(16)).unwrap();
        let mode =
            |m| std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(m));
        mode(0o444).unwrap();
        assert!(master_key(&file(&path), false, &entropy).is_ok());
        mode(0o620).unwrap();
        let open = master_key(&file(&path), false, &entropy).unwrap_err();
        assert!(open.to_string().contains("chmod 600"), "{open}");
    }
}
