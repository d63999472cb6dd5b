//! The directory: handles, passwords, devices, tokens. Edges ask; any owner answers about handles, and
//! the owner of an account's shard about its devices.

mod rules;

use std::time::Duration;

use iris_core::code::Code;
use iris_core::id::{AccountId, DeviceId, PublicKey, ShardCount, TenantNo};
use iris_core::limits;
use iris_core::shard::DirectoryAnswer;
use iris_proto::peer::directory_server::Directory;
use iris_proto::peer::{
    Failure, FindHandleReply, FindHandleRequest, GrantReply, LoginRequest, OpenDeviceRequest,
    OpenLinkedRequest, RefreshRequest, RegisterRequest, TokenReply,
};
use iris_runtime::clock::SharedClock;
use iris_runtime::rpc::require_role;
use iris_runtime::tls::Role;
use iris_store::{HandleClaim, HandleKey, HandleRecord, SharedStore, StoreError};
use tonic::{Request, Response, Status};

use super::inputs::{Answered, LaneInput, Lanes, Question};
use super::password::{PasswordError, Passwords};
use crate::token::{ACCESS_LIFE_S, SigningKeys, TokenError, Tokens};

use rules::{HandleError, handle_key};

/// A shard that does not answer within this time is taken for unavailable: nothing hangs.
const PATIENCE: Duration = Duration::from_millis(1_800);

/// The service.
pub(super) struct DirectoryService {
    pub(super) count: ShardCount,
    pub(super) lanes: Lanes,
    pub(super) store: SharedStore,
    pub(super) clock: SharedClock,
    pub(super) passwords: Passwords,
    pub(super) tokens: Tokens,
    pub(super) signing: SigningKeys,
}

/// A refusal, with its code and words.
type Refused = (Code, String);

#[tonic::async_trait]
impl Directory for DirectoryService {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<GrantReply>, Status> {
        require_role(&request, &[Role::Edge])?;
        Ok(Response::new(grant_reply(self.claim(request.into_inner()).await)))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<GrantReply>, Status> {
        require_role(&request, &[Role::Edge])?;
        Ok(Response::new(grant_reply(self.check(request.into_inner()).await)))
    }

    async fn open_device(
        &self,
        request: Request<OpenDeviceRequest>,
    ) -> Result<Response<TokenReply>, Status> {
        require_role(&request, &[Role::Edge])?;
        Ok(Response::new(token_reply(self.open(request.into_inner()).await)))
    }

    async fn open_linked(
        &self,
        request: Request<OpenLinkedRequest>,
    ) -> Result<Response<TokenReply>, Status> {
        require_role(&request, &[Role::Edge])?;
        Ok(Response::new(token_reply(self.enter(request.into_inner()).await)))
    }

    async fn refresh(
        &self,
        request: Request<RefreshRequest>,
    ) -> Result<Response<TokenReply>, Status> {
        require_role(&request, &[Role::Edge])?;
        Ok(Response::new(token_reply(self.rotate(request.into_inner()).await)))
    }

    async fn find_handle(
        &self,
        request: Request<FindHandleRequest>,
    ) -> Result<Response<FindHandleReply>, Status> {
        require_role(&request, &[Role::Edge])?;
        let reply = match self.find(&request.into_inner()).await {
            Ok(account) => {
                FindHandleReply { account: account.to_bytes().to_vec().into(), failure: None }
            }
            Err(refused) => {
                FindHandleReply { failure: Some(failure(refused)), ..Default::default() }
            }
        };
        Ok(Response::new(reply))
    }
}

impl DirectoryService {
    /// Claims a handle for a new account in the given shard. Whoever repeats it with the same password
    /// gets the same account: the first answer may have been lost.
    async fn claim(&self, request: RegisterRequest) -> Result<(AccountId, String), Refused> {
        let key = handle_key(&request.tenant, &request.handle)?;
        rules::check_password(&request.password)?;
        let shard = self.count.shard(request.shard);
        let shard = shard.map_err(|e| (Code::Invalid, e.to_string()))?;
        if let Some(record) = self.read_handle(&key).await? {
            return self.same_owner(&key, record, request.password).await;
        }
        let random = crate::random::u128();
        let account = AccountId::in_shard(shard, self.count, tenant_no(&key), random);
        let hash = self.passwords.hash(request.password.clone()).await.map_err(busy)?;
        let created_at_ms = self.clock.now().wall.0;
        let record = HandleRecord { account, password: hash, created_at_ms };
        match self.store.claim_handle(&key, &record).await {
            Ok(HandleClaim::Claimed) => self.grant(account, &key),
            Ok(HandleClaim::Taken(taken)) => self.same_owner(&key, taken, request.password).await,
            // The claim may have been made: the row says whose it is.
            Err(StoreError::Unknown(_)) => match self.read_handle(&key).await? {
                Some(record) => self.same_owner(&key, record, request.password).await,
                None => Err(unavailable()),
            },
            Err(error) => Err(store_failed(&error)),
        }
    }

    async fn same_owner(
        &self,
        key: &HandleKey,
        record: HandleRecord,
        password: String,
    ) -> Result<(AccountId, String), Refused> {
        let same = self.passwords.verify(password, record.password).await.map_err(busy)?;
        if same {
            self.grant(record.account, key)
        } else {
            Err((Code::HandleTaken, format!("{:?} is taken", key.handle)))
        }
    }

    async fn check(&self, request: LoginRequest) -> Result<(AccountId, String), Refused> {
        let wrong = || (Code::BadCredentials, "wrong handle or password".to_owned());
        let key = handle_key(&request.tenant, &request.handle).map_err(|_| wrong())?;
        if request.password.len() > limits::PASSWORD_BYTES_MAX {
            return Err(wrong());
        }
        // An unknown handle costs as much as a wrong password, so that nobody learns which it was.
        let Some(record) = self.read_handle(&key).await? else {
            self.passwords.hash(request.password).await.map_err(busy)?;
            return Err(wrong());
        };
        let right = self.passwords.verify(request.password, record.password).await.map_err(busy)?;
        if right { self.grant(record.account, &key) } else { Err(wrong()) }
    }

    fn grant(&self, account: AccountId, key: &HandleKey) -> Result<(AccountId, String), Refused> {
        let now = self.clock.now().wall;
        let grant = self.tokens.sign_grant(&self.signing, account, key.tenant.as_str(), now);
        Ok((account, grant.map_err(|_| no_key())?))
    }

    async fn open(&self, request: OpenDeviceRequest) -> Result<TokenReply, Refused> {
        let now = self.clock.now().wall;
        let grant = self.tokens.grant(&request.grant, now).map_err(bad_token)?;
        let key = PublicKey::from_bytes(&request.public_key);
        let key = key.map_err(|e| (Code::Invalid, e.to_string()))?;
        if request.name.len() > limits::DEVICE_NAME_BYTES_MAX {
            return Err((Code::Invalid, "the device's name is too long".to_owned()));
        }
        let question = Question::Open { account: grant.account, key, name: request.name };
        let answer = self.ask(grant.account, question).await?;
        self.tokens_for(grant.account, grant.tenant.as_str(), answer)
    }

    /// A device that another one vouched for comes in, if it proves to hold its key.
    async fn enter(&self, request: OpenLinkedRequest) -> Result<TokenReply, Refused> {
        let (account, key) = rules::check_linked(&request)?;
        let tenant = handle_key(&request.tenant, &request.handle)?.tenant;
        let answer = self.ask(account, Question::OpenLinked { account, key }).await?;
        self.tokens_for(account, tenant.as_str(), answer)
    }

    async fn rotate(&self, request: RefreshRequest) -> Result<TokenReply, Refused> {
        let now = self.clock.now().wall;
        let refresh = self.tokens.refresh(&request.refresh_token, now).map_err(bad_token)?;
        let signed = [b"iris/1 refresh\0", request.refresh_token.as_bytes()].concat();
        if !crate::proof::verify(&refresh.key, &signed, &request.proof) {
            return Err((Code::DeviceProof, "the proof does not fit the device's key".to_owned()));
        }
        let DeviceId { account, device } = refresh.device;
        let question = Question::Refresh { account, device, generation: refresh.generation };
        let answer = self.ask(account, question).await?;
        self.tokens_for(account, refresh.tenant.as_str(), answer)
    }

    /// Asks the account's shard, if it is served here.
    async fn ask(
        &self,
        account: AccountId,
        question: Question,
    ) -> Result<DirectoryAnswer, Refused> {
        let shard = account.shard(self.count);
        let asked = self.lanes.of(shard).ask(|answer| LaneInput::Ask { shard, question, answer });
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Answered::Shard(answer))) => Ok(answer),
            Ok(Ok(Answered::NotServed)) => {
                Err((Code::OwnerMoving, "the account's shard is elsewhere".to_owned()))
            }
            Ok(Err(_)) | Err(_) => Err(unavailable()),
        }
    }

    fn tokens_for(
        &self,
        account: AccountId,
        tenant: &str,
        answer: DirectoryAnswer,
    ) -> Result<TokenReply, Refused> {
        let (device, device_name, key, generation) = match answer {
            DirectoryAnswer::Tokens { device, name, key, refresh } => (device, name, key, refresh),
            DirectoryAnswer::Refused(code, text) => return Err((code, text.to_owned())),
        };
        let now = self.clock.now().wall;
        let id = DeviceId { account, device };
        let access = self.tokens.sign_access(&self.signing, id, key, tenant, now);
        let refresh = self.tokens.sign_refresh(&self.signing, id, key, (tenant, generation), now);
        Ok(TokenReply {
            failure: None,
            account: account.to_bytes().to_vec().into(),
            device: device.0,
            access_token: access.map_err(|_| no_key())?,
            expires_in_s: u32::try_from(ACCESS_LIFE_S).unwrap_or(u32::MAX),
            refresh_token: refresh.map_err(|_| no_key())?,
            device_name,
        })
    }

    async fn find(&self, request: &FindHandleRequest) -> Result<AccountId, Refused> {
        let key = handle_key(&request.tenant, &request.handle)?;
        let record = self.read_handle(&key).await?;
        let unknown = || (Code::NotFound, format!("nobody is called {:?}", key.handle));
        record.map(|record| record.account).ok_or_else(unknown)
    }

    async fn read_handle(&self, key: &HandleKey) -> Result<Option<HandleRecord>, Refused> {
        match tokio::time::timeout(PATIENCE, self.store.handle(key)).await {
            Ok(record) => record.map_err(|error| store_failed(&error)),
            Err(_) => Err(unavailable()),
        }
    }
}

/// This version knows the default tenant alone.
fn tenant_no(_key: &HandleKey) -> TenantNo {
    TenantNo::default()
}

impl From<HandleError> for Refused {
    fn from(error: HandleError) -> Self {
        (Code::Invalid, error.to_string())
    }
}

fn busy(error: PasswordError) -> Refused {
    match error {
        PasswordError::Busy => (Code::RateLimited, "too many logins: try again".to_owned()),
        PasswordError::Unusable => {
            (Code::StoreUnavailable, "the password cannot be checked".to_owned())
        }
    }
}

fn bad_token(error: TokenError) -> Refused {
    match error {
        TokenError::Expired => (Code::AuthExpired, error.to_string()),
        TokenError::Invalid | TokenError::NoKey => (Code::AuthInvalid, error.to_string()),
    }
}

fn unavailable() -> Refused {
    (Code::StoreUnavailable, "the store does not answer: try again".to_owned())
}

fn store_failed(error: &StoreError) -> Refused {
    tracing::warn!(%error, "the directory cannot use the store");
    unavailable()
}

fn no_key() -> Refused {
    (Code::StoreUnavailable, "no token can be signed".to_owned())
}

fn failure((code, text): Refused) -> Failure {
    let retry_after_ms = match code {
        Code::RateLimited => 1_000,
        Code::StoreUnavailable | Code::Overloaded => 1_000,
        Code::OwnerMoving => 100,
        _ => 0,
    };
    Failure { code: code.number().into(), retry_after_ms, text, moved: None }
}

fn grant_reply(result: Result<(AccountId, String), Refused>) -> GrantReply {
    match result {
        Ok((account, grant)) => {
            GrantReply { failure: None, account: account.to_bytes().to_vec().into(), grant }
        }
        Err(refused) => GrantReply { failure: Some(failure(refused)), ..GrantReply::default() },
    }
}

fn token_reply(result: Result<TokenReply, Refused>) -> TokenReply {
    result.unwrap_or_else(|refused| TokenReply {
        failure: Some(failure(refused)),
        ..TokenReply::default()
    })
}
