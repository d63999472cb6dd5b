//! What people may type after `iris link` and `iris approve`.

use std::time::Duration;

use clap::Args;
use iris_client::{BadCode, LinkCode};

use crate::duration;

pub(super) const LINK_EXAMPLES: &str = "\
Examples:
  On the new device, which shows a code and waits:
    iris link alice --server localhost:8443 --ca ca.crt
  On a device that is in the account already:
    iris approve iris-link:0400e3gn-...

The code holds this device's public key and no secret: who copies it has nothing. Whoever enters it \
lets this device read and write as them, so show it to nobody else. It stays the same when the command \
is called off and begun again. What was written before is there with `iris history`.";

pub(super) const APPROVE_EXAMPLES: &str = "\
Examples:
  iris approve iris-link:0400e3gn-... --device-name tablet
  iris devices      (who is in)
  iris revoke 3     (and who is not any more)

Enter only codes of your own devices: who is let in reads what arrives and writes as you. Nobody who \
helps you needs this.";

/// `iris link`.
#[derive(Args, Debug)]
pub struct Link {
    /// Whose account
    #[arg(value_name = "NAME")]
    pub handle: String,
    /// For how long to wait to be let in
    #[arg(long = "for", default_value = "10m", value_parser = duration::parse, value_name = "DURATION")]
    pub period: Duration,
    /// The tenant
    #[arg(long, default_value = "default")]
    pub tenant: String,
}

/// `iris approve`.
#[derive(Args, Debug)]
pub struct Approve {
    /// The code, as the new device shows it
    #[arg(value_name = "CODE", required = true)]
    code: Vec<String>,
    /// What the new device is called in the list of devices
    #[arg(long, default_value = "linked device", value_name = "TEXT")]
    pub device_name: String,
}

impl Approve {
    /// The code, however it was spaced.
    ///
    /// # Errors
    /// When it is none.
    pub fn code(&self) -> Result<LinkCode, BadCode> {
        self.code.concat().parse()
    }
}
