//! `iris whoami`.

use std::time::Duration;

use iris_client::store::{State, Store as _};
use iris_client::wall_ms;
use serde_json::{Value, json};

use crate::args::Whoami;
use crate::connect::Context;
use crate::failure::Failure;
use crate::profile::Profile;

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(context: &mut Context, args: Whoami) -> Result<(), Failure> {
    if args.all {
        let names = context.profiles.names()?;
        if names.is_empty() {
            let directory = context.profiles.directory().display().to_string();
            context.output.note(&format!("No account in {directory}: iris register NAME"));
        }
        for name in names {
            tell(context, &context.profiles.profile(&name)?)?;
        }
        return Ok(());
    }
    tell(context, &context.profile()?)?;
    if args.connect {
        let opened = context.reach(PATIENCE).await?;
        context.output.result("The server lets this device in.", &json!({"connected": true}))?;
        opened.close().await?;
    }
    Ok(())
}

fn tell(context: &mut Context, profile: &Profile) -> Result<(), Failure> {
    let store = match profile.store() {
        Ok(store) => store,
        Err(failure) if context.output.is_json() => return Err(failure),
        Err(failure) => {
            context.output.note(&format!("{}: {}", profile.name, failure.for_people()));
            return Ok(());
        }
    };
    let value = described(profile, store.state());
    let text = match &store.state().login {
        None => format!("{}: not registered to its end", profile.name),
        Some(login) => {
            let waiting = match store.state().undecided.len() {
                0 => String::new(),
                n => format!("\n  {n} messages wait to be sent"),
            };
            format!(
                "{} is {} ({}), device {} \"{}\"\n  servers {}\n  kept in {}{waiting}",
                profile.name,
                login.handle,
                login.account,
                login.device,
                login.device_name,
                profile.server().servers.join(", "),
                profile.directory().display(),
            )
        }
    };
    context.output.result(&text, &value)
}

fn described(profile: &Profile, state: &State) -> Value {
    let login = state.login.as_ref();
    let token_s = state.tokens.as_ref().map(|t| t.access_until_ms.saturating_sub(wall_ms()) / 1000);
    json!({
        "as": profile.name,
        "handle": login.map(|login| &login.handle),
        "account": login.map(|login| login.account.to_string()),
        "device": login.map(|login| login.device.0),
        "device_name": login.map(|login| &login.device_name),
        "tenant": login.map(|login| &login.tenant),
        "servers": profile.server().servers,
        "directory": profile.directory(),
        "inbox_seq": state.cursor.0,
        "messages_waiting": state.undecided.len(),
        "access_token_seconds": token_s,
    })
}
