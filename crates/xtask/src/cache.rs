//! What is built once and kept: tools, root file systems, jars and images, each under a key made
//! from everything that went into it, so that a new clone on the same machine finds it warm.
//!
//! Never changes an entry once it is there, and never keeps anything in the repository.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// How the names of entries begin; `make` takes no other.
const OURS: [&str; 9] = [
    ".new-",
    "buildah",
    "cassandra-",
    "image-",
    "kind-",
    "pause-",
    "program-",
    "rootfs-",
    "tools-",
];

/// The cache's directory.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$IRIS_CACHE`, else `iris` in the user's cache directory.
    pub(crate) fn open() -> Result<Self> {
        let root = match (env::var_os("IRIS_CACHE"), env::var_os("XDG_CACHE_HOME")) {
            (Some(root), _) => PathBuf::from(root),
            (None, Some(base)) => PathBuf::from(base).join("iris"),
            (None, None) => {
                PathBuf::from(env::var_os("HOME").context("neither IRIS_CACHE nor HOME is set")?)
                    .join(".cache/iris")
            }
        };
        Ok(Self { root })
    }

    /// A cache in a directory of the caller's.
    #[cfg(test)]
    fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The cache's directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the entry of this name and key is or will be.
    pub(crate) fn entry(&self, name: &str, key: &Key) -> PathBuf {
        self.root.join(format!("{name}-{key}"))
    }

    /// Removes everything that is kept, and the directory if nothing else is in it: someone may
    /// have named one that is not ours alone.
    pub(crate) fn purge(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if OURS.iter().any(|prefix| name.starts_with(prefix)) {
                remove_dir(&entry.path())?;
            }
        }
        // Not empty, or not there.
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }

    /// Makes an entry, unless it is there, by filling the directory that `build` is given. A build
    /// that fails or dies leaves no entry; one that finished is there for good.
    pub(crate) fn make(
        &self,
        name: &str,
        key: &Key,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let known = OURS.iter().any(|prefix| format!("{name}-").starts_with(prefix));
        ensure!(known, "{name} is no name of an entry");
        let entry = self.entry(name, key);
        if entry.exists() {
            return Ok(entry);
        }
        let scratch = self.root.join(format!(".new-{name}-{key}-{}", std::process::id()));
        remove_dir(&scratch)?;
        fs::create_dir_all(&scratch).with_context(|| format!("cannot make {scratch:?}"))?;
        let built = build(&scratch);
        // Another process may have made the same entry meanwhile; both have the same content.
        let kept = built.and_then(|()| match fs::rename(&scratch, &entry) {
            Err(_) if entry.exists() => Ok(()),
            renamed => renamed.with_context(|| format!("cannot keep {entry:?}")),
        });
        let cleared = remove_dir(&scratch);
        kept.and(cleared)?;
        Ok(entry)
    }
}

/// Removes a directory and all in it, if it is there.
pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {dir:?}"))
        }
        _ => Ok(()),
    }
}

/// A digest of the inputs of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// A key that was written down before.
    pub(crate) fn known(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The key of an entry that is made from these inputs, in this order.
    pub(crate) fn of<B: AsRef<[u8]>>(inputs: impl IntoIterator<Item = B>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for input in inputs {
            let input = input.as_ref();
            // Lengths go in too, so that moving a byte from one input to the next is a change.
            hasher.update(&(input.len() as u64).to_le_bytes());
            hasher.update(input);
        }
        Self(hasher.finalize().to_hex().as_str().chars().take(12).collect())
    }

    /// The key of everything below a directory or in a file, by relative path and content.
    pub(crate) fn of_tree(path: &Path) -> Result<Self> {
        let mut files = Vec::new();
        collect(path, &mut files)?;
        files.sort();
        let mut inputs = Vec::new();
        for file in files {
            let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
            inputs.push(name.into_bytes());
            inputs.push(fs::read(&file).with_context(|| format!("cannot read {file:?}"))?);
        }
        Ok(Self::of(inputs))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| format!("cannot list {path:?}"))? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
