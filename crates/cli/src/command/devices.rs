//! `iris devices` and `iris revoke`.

use std::time::Duration;

use iris_core::id::DeviceNo;
use serde_json::json;

use crate::args::Revoke;
use crate::connect::Context;
use crate::failure::Failure;
use crate::output::table;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn list(context: &mut Context) -> Result<(), Failure> {
    let opened = context.reach(PATIENCE).await?;
    let devices = opened.client.handle().devices().await?;
    let this = opened.client.login_data().device;
    let value: Vec<_> = devices
        .iter()
        .map(|device| {
            json!({
                "device": device.device.0,
                "name": device.name,
                "revoked": device.revoked,
                "this": device.device == this,
            })
        })
        .collect();
    let rows: Vec<_> = devices
        .iter()
        .map(|device| {
            let state = match (device.revoked, device.device == this) {
                (true, _) => "revoked",
                (false, true) => "this one",
                (false, false) => "",
            };
            vec![device.device.to_string(), device.name.clone(), state.to_owned()]
        })
        .collect();
    let text = table(&["DEVICE", "NAME", ""], &rows);
    context.output.result(&text, &json!({"devices": value}))?;
    opened.close().await
}

pub(super) async fn revoke(context: &mut Context, args: Revoke) -> Result<(), Failure> {
    let opened = context.reach(PATIENCE).await?;
    let handle = opened.client.handle();
    let revoked = handle.revoke(DeviceNo(args.device)).await;
    revoked.map_err(|error| match error {
        iris_client::ClientError::Refused { code: 4203, .. } => {
            Failure::new(format!("there is no device {}", args.device))
                .hint("`iris devices` lists them")
        }
        other => other.into(),
    })?;
    let text = format!("Device {} has no access any more.", args.device);
    context.output.result(&text, &json!({"revoked": args.device}))?;
    opened.close().await
}
