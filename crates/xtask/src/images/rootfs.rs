//! Root file systems to build images on, made of Debian's own packages by the machine's own
//! package manager, so that no image registry is needed.
//!
//! Never runs a package's scripts: what is in the file system is what the packages contain.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{PREFIX, buildah};
use crate::{
    cache::{Key, remove_dir},
    env::Env,
};

/// The release whose packages are taken; Iris is built for the same.
const SUITE: &str = "bookworm";

/// What no process in a container reads.
const CLUTTER: [&str; 14] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/icons",
    "usr/share/fonts",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/aarch64-linux-gnu/gconv",
    "var/lib/dpkg",
    "var/lib/apt",
    "var/cache",
    "var/log",
];

/// The bases that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The C library and time zones, without a shell: for Iris's own programs.
    Base,
    /// A Java runtime and a shell: for Cassandra.
    Jre,
}

/// Every base.
pub(crate) const ALL: [Kind; 2] = [Kind::Base, Kind::Jre];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Jre => "jre",
        }
    }

    fn packages(self) -> &'static str {
        match self {
            Self::Base => "base-files,netbase,tzdata,libc6,libgcc-s1",
            Self::Jre => {
                "base-files,netbase,tzdata,dash,coreutils,grep,sed,openjdk-17-jre-headless"
            }
        }
    }

    /// What the file system is made from.
    pub(crate) fn key(self) -> Key {
        Key::of([SUITE, self.packages(), &CLUTTER.join(",")])
    }
}

/// Makes the file system's archive, unless the cache has it.
pub(crate) fn make(env: &Env, kind: Kind) -> Result<()> {
    let name = format!("rootfs-{}", kind.name());
    env.cache.make(&name, &kind.key(), |dir| {
        let root = dir.join("root");
        env.cmd("mmdebstrap")
            .args(["--variant=extract", "--format=directory"])
            .arg(format!("--include={}", kind.packages()))
            .arg(SUITE)
            .arg(&root)
            .run()?;
        tidy(&root)?;
        let tar = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
        env.cmd("tar")
            .args(tar)
            .arg("-cf")
            .arg(dir.join("rootfs.tar"))
            .arg("-C")
            .arg(&root)
            .arg(".")
            .run()?;
        remove_dir(&root)
    })?;
    Ok(())
}

/// Whether the cache has the file system.
pub(crate) fn is_made(env: &Env, kind: Kind) -> bool {
    env.cache.entry(&format!("rootfs-{}", kind.name()), &kind.key()).exists()
}

/// The reference of an image of just the file system, loaded into the image builder.
pub(super) fn load(env: &Env, kind: Kind) -> Result<String> {
    let reference = format!("{PREFIX}/rootfs-{}:{}", kind.name(), kind.key());
    if buildah(env)?.args(["inspect", "--type", "image", &reference]).succeeds() {
        return Ok(reference);
    }
    let dir = env.cache.entry(&format!("rootfs-{}", kind.name()), &kind.key());
    let dockerfile = "FROM scratch\nADD rootfs.tar /\n";
    buildah(env)?
        .args(["bud", "--quiet", "-t", &reference, "-f", "-"])
        .stdin(dockerfile)
        .arg(&dir)
        .run()?;
    Ok(reference)
}

fn tidy(root: &Path) -> Result<()> {
    for path in CLUTTER {
        remove_dir(&root.join(path))?;
    }
    for file in ["etc/resolv.conf", "etc/hostname"] {
        // The machine's own; a container gets its pod's.
        let _ = fs::remove_file(root.join(file));
    }
    let java = root.join("usr/lib/jvm");
    for entry in fs::read_dir(&java).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("java-17-openjdk-") {
            // No package script ran, so nothing has chosen this Java as the default.
            let link = java.join("default");
            std::os::unix::fs::symlink(name, &link)
                .with_context(|| format!("cannot link {link:?}"))?;
        }
    }
    Ok(())
}
