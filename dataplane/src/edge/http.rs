//! The HTTPS interface: accounts and tokens, the public keys, and the way to a WebSocket.

mod link;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use iris_core::code::Code;
use iris_core::id::{AccountId, PublicKey, ShardId};
use iris_core::limits;
use iris_proto::peer::{
    Failure, GrantReply, LoginRequest, OpenDeviceRequest, RefreshRequest, RegisterRequest,
    TokenReply,
};
use serde::{Deserialize, Serialize};
use tonic::Status;

use super::admission::Admission;
use super::conn::Shared;
use super::websocket;

/// The largest body of a request.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Http {
    pub(super) shared: Arc<Shared>,
    pub(super) admission: Arc<Admission>,
}

/// The interface.
pub(super) fn router(http: Http) -> Router {
    Router::new()
        .route("/v1/register", post(register))
        .route("/v1/login", post(login))
        .route("/v1/link", post(link::link))
        .route("/v1/token", post(token))
        .route("/v1/jwks.json", get(jwks))
        .route("/v1/connect", get(websocket::upgrade))
        .fallback(|| async { refused(Code::NotFound, "no such path", 0) })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(http)
}

#[derive(Deserialize)]
struct Credentials {
    handle: String,
    password: String,
    device: DeviceKey,
    #[serde(default)]
    tenant: String,
}

#[derive(Deserialize)]
struct DeviceKey {
    public_key: String,
    #[serde(default)]
    name: String,
}

impl DeviceKey {
    /// Its key, when all of it is sound: nothing is claimed for a device that cannot be opened.
    fn key(&self) -> Result<PublicKey, Refusal> {
        if self.name.len() > limits::DEVICE_NAME_BYTES_MAX {
            let most = limits::DEVICE_NAME_BYTES_MAX;
            return Err(invalid(&format!("a device's name has at most {most} bytes")));
        }
        public_key(&self.public_key)
    }
}

#[derive(Deserialize)]
struct TokenRequest {
    refresh_token: String,
    proof: String,
}

#[derive(Serialize)]
struct TokensBody {
    account: String,
    device: u32,
    device_name: String,
    access_token: String,
    expires_in: u32,
    refresh_token: String,
}

#[derive(Serialize)]
struct ErrorBody {
    code: u16,
    text: String,
    retry_after_ms: u32,
}

type Body<T> = Result<Json<T>, axum::extract::rejection::JsonRejection>;

async fn register(State(http): State<Http>, body: Body<Credentials>) -> Response {
    let result = async {
        let body = http.begin(body)?;
        let key = body.device.key()?;
        let shard = http.some_shard()?;
        let mut directory = http.directory(shard)?;
        let request = RegisterRequest {
            tenant: body.tenant,
            handle: body.handle,
            password: body.password,
            shard: shard.into(),
        };
        let grant = directory.register(request).await.map_err(broken)?.into_inner();
        http.open(grant, key, body.device.name).await
    };
    http.answer("register", result.await)
}

async fn login(State(http): State<Http>, body: Body<Credentials>) -> Response {
    let result = async {
        let body = http.begin(body)?;
        let key = body.device.key()?;
        let shard = http.some_shard()?;
        let mut directory = http.directory(shard)?;
        let request = LoginRequest {
            tenant: body.tenant,
            handle: body.handle,
            password: body.password,
            shard: shard.into(),
        };
        let grant = directory.login(request).await.map_err(broken)?.into_inner();
        http.open(grant, key, body.device.name).await
    };
    http.answer("login", result.await)
}

async fn token(State(http): State<Http>, body: Body<TokenRequest>) -> Response {
    let result = async {
        let body = http.begin(body)?;
        let proof = proof(&body.proof)?;
        let now = http.shared.clock.now().wall;
        // The token is checked here first, so that garbage costs no owner anything.
        let refresh = http.shared.tokens.refresh(&body.refresh_token, now);
        let refresh = refresh.map_err(|error| {
            let code = match error {
                crate::token::TokenError::Expired => Code::AuthExpired,
                crate::token::TokenError::Invalid | crate::token::TokenError::NoKey => {
                    Code::AuthInvalid
                }
            };
            Refusal { code, text: error.to_string(), retry_after_ms: 0 }
        })?;
        let account = refresh.device.account;
        let mut directory = http.directory(account.shard(http.shared.config.shard_count))?;
        let request = RefreshRequest { refresh_token: body.refresh_token, proof: proof.into() };
        let reply = directory.refresh(request).await.map_err(broken)?.into_inner();
        tokens_body(reply)
    };
    http.answer("token", result.await)
}

async fn jwks(State(http): State<Http>) -> Response {
    let document = http.shared.tokens.jwks();
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=60")], document)
        .into_response()
}

fn read<T>(body: Body<T>) -> Result<T, Refusal> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) => Err(invalid(&rejection.body_text())),
    }
}

impl Http {
    /// Admits a login and reads its body.
    fn begin<T>(&self, body: Body<T>) -> Result<T, Refusal> {
        if !self.admission.login() {
            let text = "too many logins: try again".to_owned();
            return Err(Refusal { code: Code::RateLimited, text, retry_after_ms: 1_000 });
        }
        read(body)
    }

    /// A shard of this region that is served: a home for a new account.
    fn some_shard(&self) -> Result<ShardId, Refusal> {
        let count = self.shared.config.shard_count;
        let all: Vec<_> = count.shards().collect();
        let start = fastrand::usize(..all.len());
        let served = |shard: &&ShardId| self.shared.links.to_shard(**shard).is_some();
        let found = all[start..].iter().chain(&all[..start]).find(served);
        found.copied().ok_or_else(moving)
    }

    fn directory(&self, shard: ShardId) -> Result<Directory, Refusal> {
        self.shared.links.directory(shard).ok_or_else(moving)
    }

    /// Opens the device at the owner of the account's shard.
    async fn open(
        &self,
        grant: GrantReply,
        key: PublicKey,
        name: String,
    ) -> Result<TokensBody, Refusal> {
        if let Some(failure) = grant.failure {
            return Err(failure.into());
        }
        let account = AccountId::from_bytes(&grant.account);
        let account = account.map_err(|_| broken(Status::internal("an unusable grant")))?;
        let mut directory = self.directory(account.shard(self.shared.config.shard_count))?;
        let request =
            OpenDeviceRequest { grant: grant.grant, public_key: key.0.to_vec().into(), name };
        tokens_body(directory.open_device(request).await.map_err(broken)?.into_inner())
    }

    fn answer(&self, path: &str, result: Result<TokensBody, Refusal>) -> Response {
        let response = match result {
            Ok(tokens) => ([(header::CACHE_CONTROL, "no-store")], Json(tokens)).into_response(),
            Err(refusal) => refused(refusal.code, &refusal.text, refusal.retry_after_ms),
        };
        let status = response.status().as_u16().to_string();
        self.shared.metrics.requests.with_label_values(&[path, &status]).inc();
        response
    }
}

type Directory = iris_proto::peer::directory_client::DirectoryClient<tonic::transport::Channel>;

struct Refusal {
    code: Code,
    text: String,
    retry_after_ms: u32,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let code = Code::of_any_version(failure.code).unwrap_or(Code::StoreUnavailable);
        Self { code, text: failure.text, retry_after_ms: failure.retry_after_ms }
    }
}

fn tokens_body(reply: TokenReply) -> Result<TokensBody, Refusal> {
    if let Some(failure) = reply.failure {
        return Err(failure.into());
    }
    let account = AccountId::from_bytes(&reply.account);
    let account = account.map_err(|_| broken(Status::internal("an unusable reply")))?;
    Ok(TokensBody {
        account: account.to_string(),
        device: reply.device,
        device_name: reply.device_name,
        access_token: reply.access_token,
        expires_in: reply.expires_in_s,
        refresh_token: reply.refresh_token,
    })
}

fn public_key(text: &str) -> Result<PublicKey, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    let bytes = bytes.map_err(|_| invalid("public_key is not base64url without padding"))?;
    PublicKey::from_bytes(&bytes).map_err(|error| invalid(&error.to_string()))
}

fn proof(text: &str) -> Result<Vec<u8>, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|_| invalid("proof is not base64url without padding"))
}

fn invalid(text: &str) -> Refusal {
    Refusal { code: Code::Invalid, text: text.to_owned(), retry_after_ms: 0 }
}

fn moving() -> Refusal {
    let text = "the owner is changing: try again".to_owned();
    Refusal { code: Code::OwnerMoving, text, retry_after_ms: 200 }
}

fn broken(status: Status) -> Refusal {
    tracing::debug!(%status, "an owner did not answer");
    let text = "the directory does not answer: try again".to_owned();
    Refusal { code: Code::StoreUnavailable, text, retry_after_ms: 500 }
}

/// A refusal as a response.
pub(super) fn refused(code: Code, text: &str, retry_after_ms: u32) -> Response {
    let body = ErrorBody { code: code.number(), text: text.to_owned(), retry_after_ms };
    (status(code), Json(body)).into_response()
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::HandleTaken => StatusCode::CONFLICT,
        Code::BadCredentials
        | Code::AuthExpired
        | Code::AuthInvalid
        | Code::DeviceRevoked
        | Code::DeviceProof => StatusCode::UNAUTHORIZED,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::OwnerMoving | Code::StoreUnavailable | Code::Overloaded => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        // Of a later owner. The first digit is what it is about in every version.
        Code::Later(_) if code.number() >= 5_000 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}
