//! `iris link` on a new device, and `iris approve` on one that is in the account.

use std::time::Duration;

use iris_client::store::{Login, Store as _};
use iris_client::{ClientError, link, link_code};
use iris_core::code::Code;
use serde_json::json;
use tokio::time::{Instant, interval_at};

use crate::args::{Approve, Link};
use crate::connect::{Context, connector};
use crate::failure::Failure;

const PATIENCE: Duration = Duration::from_secs(20);
/// How often a person who waits is told that it still does.
const PROGRESS: Duration = Duration::from_secs(30);

pub(super) async fn run(context: &mut Context, args: Link) -> Result<(), Failure> {
    let named = context.global.account.clone();
    let profile = context.profiles.profile(named.as_deref().unwrap_or(&args.handle))?;
    let server = profile.server().merged(&context.global)?;
    let connector = connector(&server)?;
    let (store, code) = link_code(profile.store()?).await?;
    profile.set_server(&server)?;
    let text = format!("Link code of this device:\n\n  {code}\n");
    context.output.result(&text, &json!({"event": "code", "code": code.to_string()}))?;
    context.output.note(&format!(
        "On a device of {}: iris approve {code}\nWaiting; Control-C gives up, and the code stays good.",
        args.handle
    ));
    let until = Instant::now() + args.period;
    let who = (args.handle.as_str(), args.tenant.as_str());
    let mut waits = std::pin::pin!(link(&connector, store, who, args.period));
    let mut progress = interval_at(Instant::now() + PROGRESS, PROGRESS);
    let store = loop {
        tokio::select! {
            linked = &mut waits => break linked.map_err(|error| used_up(error, &args.handle))?,
            _ = progress.tick() => {
                let left = until.saturating_duration_since(Instant::now()).as_secs();
                context.output.note(&format!("Nobody let this device in yet; {left} s are left."));
            }
        }
    };
    let missing = || Failure::new("the server linked no device");
    let login: Login = store.state().login.clone().ok_or_else(missing)?;
    let Login { handle, account, device, device_name, .. } = &login;
    profile.learn(*account, handle)?;
    let text = format!("This is device {device} of {handle} ({account}), called {device_name:?}.");
    let value = json!({
        "event": "linked",
        "handle": handle,
        "account": account.to_string(),
        "device": device.0,
        "device_name": device_name,
        "tenant": login.tenant,
        "as": profile.name,
    });
    context.output.result(&text, &value)?;
    if !context.output.is_json() {
        let name = &profile.name;
        let next = format!("Next: iris history SOMEBODY --as {name}, or iris listen --as {name}");
        context.output.note(&next);
    }
    Ok(())
}

/// The key of this device is good for nothing more, and another profile makes another one.
fn used_up(error: ClientError, handle: &str) -> Failure {
    let codes = [Code::DeviceRevoked, Code::AuthInvalid].map(|code| u32::from(code.number()));
    match &error {
        ClientError::Refused { code, .. } if codes.contains(code) => {
            let hint = format!("`iris link {handle} --as OTHER_NAME` makes a new code");
            Failure::new(error.to_string()).hint(hint)
        }
        _ => error.into(),
    }
}

pub(super) async fn approve(context: &mut Context, args: Approve) -> Result<(), Failure> {
    let code = args.code().map_err(|error| {
        Failure::new(error.to_string()).hint("`iris link NAME` on the new device shows its code")
    })?;
    let opened = context.reach(PATIENCE).await?;
    let device = opened.client.handle().link_device(code, &args.device_name).await?;
    let handle = &opened.client.login_data().handle;
    let text = format!(
        "Device {device} is in the account of {handle} now. Was that not you? iris revoke {device}"
    );
    let value = json!({"event": "approved", "device": device.0, "code": code.to_string()});
    context.output.result(&text, &value)?;
    opened.close().await
}
