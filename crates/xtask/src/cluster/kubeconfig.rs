//! The configuration files with which the cluster's own programs and people reach the API server.
//!
//! Never writes into a configuration of the user's own.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context, Result};
use serde_json::json;

use super::plan::Plan;
use crate::pki::Pair;

/// Writes a configuration for the user that a certificate names. It is JSON, which is YAML.
pub(crate) fn write(file: &Path, authority: &Path, user: &Pair) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "iris-dev", "cluster": {
            "server": Plan::api_server(),
            "certificate-authority": authority,
        }}],
        "users": [{"name": "iris-dev", "user": {
            "client-certificate": user.cert,
            "client-key": user.key,
        }}],
        "contexts": [{"name": "iris-dev", "context": {"cluster": "iris-dev", "user": "iris-dev"}}],
        "current-context": "iris-dev",
    });
    let text = serde_json::to_vec_pretty(&config)?;
    fs::write(file, text).with_context(|| format!("cannot write {file:?}"))?;
    // Helm warns about a file that others can read.
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
