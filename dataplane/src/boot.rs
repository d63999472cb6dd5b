//! What both roles need besides what every pod needs: the checking of tokens, and where shards are.

use std::path::PathBuf;
use std::sync::Arc;

use iris_boot::{Booted, PodArgs, retry};
use iris_runtime::config;

use crate::control::ControlPlane;
use crate::route::{self, Routes};
use crate::token::{Tokens, VerifyingKeys, reload_verifying};

/// What both roles have once they can begin.
pub struct Base {
    /// Checks tokens.
    pub tokens: Tokens,
    /// The way to the control plane.
    pub control: Arc<ControlPlane>,
    /// Where shards are, as the control plane says.
    pub routes: Arc<Routes>,
}

/// On return tokens can be checked and routes are followed.
pub async fn base(pod: &PodArgs, booted: &Booted) -> Base {
    let tokens = tokens(booted).await;
    let service = booted.settings.control_plane.clone();
    let control = Arc::new(ControlPlane::new(booted.identity.clone(), service));
    let routes = Arc::new(Routes::new(booted.shard_count));
    let follow = route::follow(Arc::clone(&control), pod.pod_name.clone(), Arc::clone(&routes));
    booted.tasks.spawn_critical("follow routes", follow);
    Base { tokens, control, routes }
}

async fn tokens(booted: &Booted) -> Tokens {
    let directory = PathBuf::from(config::JWT_PATH);
    let keys = retry("token keys", &booted.health, || {
        let loaded = VerifyingKeys::load(&directory);
        async { loaded }
    })
    .await;
    booted.tasks.spawn_critical("token keys", reload_verifying(directory, keys.clone()));
    Tokens::new(booted.settings.token_issuer.clone(), keys)
}
