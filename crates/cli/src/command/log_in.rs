//! `iris register` and `iris login`.

use std::time::Duration;

use iris_client::store::{Login, Store as _};
use iris_client::{ClientError, Credentials, login, register};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::args::LogIn;
use crate::connect::{Context, connector};
use crate::failure::Failure;
use crate::prompt;

/// For so long a server that cannot now is asked again.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(context: &mut Context, args: LogIn, new: bool) -> Result<(), Failure> {
    let named = context.global.account.clone();
    let profile = context.profiles.profile(named.as_deref().unwrap_or(&args.handle))?;
    let server = profile.server().merged(&context.global)?;
    let connector = connector(&server)?;
    let password = match args.password {
        Some(password) => password,
        None => prompt::password("Password")?,
    };
    let who = Credentials {
        handle: args.handle,
        password,
        device_name: args.device_name,
        tenant: args.tenant,
    };
    let until = Instant::now() + PATIENCE;
    let store = loop {
        // The key of the device is in it: asked again, the server knows it.
        let store = profile.store()?;
        let asked = if new {
            register(&connector, store, &who).await
        } else {
            login(&connector, store, &who).await
        };
        match asked {
            Err(ClientError::TryLater { retry_after_ms, .. }) if Instant::now() < until => {
                sleep(Duration::from_millis(u64::from(retry_after_ms.max(100)))).await;
            }
            answered => break answered?,
        }
    };
    profile.set_server(&server)?;
    let missing = || Failure::new("the server made no account");
    let login: Login = store.state().login.clone().ok_or_else(missing)?;
    let Login { handle, account, device, .. } = &login;
    profile.learn(*account, handle)?;
    let text = if new {
        format!("{handle} is registered as {account}; this is its device {device}.")
    } else {
        format!("This is device {device} of {handle} ({account}).")
    };
    let value = json!({
        "handle": handle,
        "account": account.to_string(),
        "device": device.0,
        "tenant": login.tenant,
        "as": profile.name,
    });
    context.output.result(&text, &value)?;
    if !context.output.is_json() {
        let as_ =
            if profile.name == *handle { String::new() } else { format!(" --as {}", profile.name) };
        context.output.note(&format!("Next: iris chat SOMEBODY{as_}, or iris listen{as_}"));
    }
    Ok(())
}
