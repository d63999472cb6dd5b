//! `POST /v1/link`: a new device asks whether a device of the account vouched for it, and gets its
//! first tokens.
//!
//! Nothing here depends on a clock or remembers anything: the tokens are worth something to who holds
//! the device's key, and asking again changes nothing, so that a repeated request does no harm.

use axum::extract::State;
use axum::response::Response;
use iris_core::code::Code;
use iris_core::id::AccountId;
use iris_proto::peer::{FindHandleRequest, OpenLinkedRequest};
use serde::Deserialize;
use tonic::Status;

use super::{Body, Http, Refusal, broken, proof, public_key, tokens_body};

/// When a device should ask again: a person walks from one device to the other.
const ASK_AGAIN_MS: u32 = 2_000;

#[derive(Deserialize)]
pub(super) struct LinkRequest {
    handle: String,
    #[serde(default)]
    tenant: String,
    public_key: String,
    proof: String,
}

pub(super) async fn link(State(http): State<Http>, body: Body<LinkRequest>) -> Response {
    let result = async {
        if !http.admission.link() {
            let text = "too many devices wait to be linked: ask again later".to_owned();
            return Err(Refusal {
                code: Code::RateLimited,
                text,
                retry_after_ms: 2 * ASK_AGAIN_MS,
            });
        }
        let request = super::read(body).and_then(checked)?;
        let account = http.account_of(&request).await?;
        let mut directory = http.directory(account.shard(http.shared.config.shard_count))?;
        let request = OpenLinkedRequest { account: account.to_bytes().to_vec().into(), ..request };
        let reply = directory.open_linked(request).await.map_err(broken)?.into_inner();
        tokens_body(reply)
    };
    http.answer("link", result.await.map_err(not_linked))
}

/// The request without its account. The proof is checked here first, so that garbage costs no owner
/// anything, and nobody learns by it which keys were vouched for.
fn checked(body: LinkRequest) -> Result<OpenLinkedRequest, Refusal> {
    let (key, proof) = (public_key(&body.public_key)?, proof(&body.proof)?);
    let signed = crate::proof::link_input(&body.tenant, &body.handle);
    if !crate::proof::verify(&key, &signed, &proof) {
        let text = "the proof does not fit the device's key".to_owned();
        return Err(Refusal { code: Code::DeviceProof, text, retry_after_ms: 0 });
    }
    Ok(OpenLinkedRequest {
        account: Vec::new().into(),
        tenant: body.tenant,
        handle: body.handle,
        public_key: key.0.to_vec().into(),
        proof: proof.into(),
    })
}

/// Whether there is no such account or nobody in it vouched for the device is not told apart.
fn not_linked(refusal: Refusal) -> Refusal {
    match refusal.code {
        Code::NotFound => Refusal {
            code: Code::NotFound,
            text: "no device of this account vouched for this one yet".to_owned(),
            retry_after_ms: ASK_AGAIN_MS,
        },
        _ => refusal,
    }
}

impl Http {
    async fn account_of(&self, request: &OpenLinkedRequest) -> Result<AccountId, Refusal> {
        let shard = self.some_shard()?;
        let (tenant, handle) = (request.tenant.clone(), request.handle.clone());
        let find = FindHandleRequest { tenant, handle, shard: shard.into() };
        let found = self.directory(shard)?.find_handle(find).await.map_err(broken)?.into_inner();
        if let Some(failure) = found.failure {
            return Err(failure.into());
        }
        let account = AccountId::from_bytes(&found.account);
        account.map_err(|_| broken(Status::internal("an unusable account")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says where it failed")]

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// What the device with this seed asks.
    fn asked(seed: u8, tenant: &str, handle: &str) -> LinkRequest {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let signed = crate::proof::link_input(tenant, handle);
        LinkRequest {
            handle: handle.to_owned(),
            tenant: tenant.to_owned(),
            public_key: URL_SAFE_NO_PAD.encode(pair.public_key()),
            proof: URL_SAFE_NO_PAD.encode(pair.sign(&signed)),
        }
    }

    fn code(request: LinkRequest) -> Option<Code> {
        checked(request).err().map(|refusal| refusal.code)
    }

    #[test]
    fn what_is_not_proved_goes_no_further() {
        assert_eq!(code(asked(1, "default", "ada")), None);
        assert_eq!(code(asked(1, "", "ada")), None, "the tenant may be left out");
        let eve = LinkRequest { handle: "eve".to_owned(), ..asked(1, "", "ada") };
        assert_eq!(code(eve), Some(Code::DeviceProof), "another account");
        let stolen = LinkRequest { proof: asked(2, "", "ada").proof, ..asked(1, "", "ada") };
        assert_eq!(code(stolen), Some(Code::DeviceProof), "another device's");
        for garbage in ["", "AAAA", &"A".repeat(9_000)] {
            let proof = LinkRequest { proof: garbage.to_owned(), ..asked(1, "", "ada") };
            assert_eq!(code(proof), Some(Code::DeviceProof), "{garbage}");
            let key = LinkRequest { public_key: garbage.to_owned(), ..asked(1, "", "ada") };
            assert_eq!(code(key), Some(Code::Invalid), "{garbage}");
        }
        let padded = LinkRequest { proof: "==".to_owned(), ..asked(1, "", "ada") };
        assert_eq!(code(padded), Some(Code::Invalid));
    }

    #[test]
    fn an_unknown_account_looks_like_a_device_that_nobody_vouched_for() {
        let unknown = Refusal {
            code: Code::NotFound,
            text: "nobody is called \"ada\"".to_owned(),
            retry_after_ms: 0,
        };
        let told = not_linked(unknown);
        assert!(!told.text.contains("ada"), "{}", told.text);
        assert_eq!((told.code, told.retry_after_ms), (Code::NotFound, ASK_AGAIN_MS));
        let other = Refusal { code: Code::OwnerMoving, text: String::new(), retry_after_ms: 200 };
        assert_eq!(not_linked(other).retry_after_ms, 200);
    }
}
