//! Handles.

use async_trait::async_trait;
use iris_core::id::AccountId;

use super::EmbeddedStore;
use super::codec::{Packed, Parts, Tag};
use crate::{DirectoryStore, HandleClaim, HandleKey, HandleRecord, StoreError};

#[async_trait]
impl DirectoryStore for EmbeddedStore {
    async fn claim_handle(
        &self,
        key: &HandleKey,
        record: &HandleRecord,
    ) -> Result<HandleClaim, StoreError> {
        let (key, record) = (packed(key), encode(record));
        self.write(move |disk| {
            let _lock = disk.lock(&key);
            if let Some(taken) = disk.get(&key)? {
                return decode(&taken).map(HandleClaim::Taken);
            }
            disk.put(&key, record)?;
            Ok(HandleClaim::Claimed)
        })
        .await
    }

    async fn handle(&self, key: &HandleKey) -> Result<Option<HandleRecord>, StoreError> {
        let key = packed(key);
        self.settled(move |disk| disk.get(&key)?.map(|record| decode(&record)).transpose()).await
    }
}

/// No tenant has a zero byte in its name.
fn packed(key: &HandleKey) -> Packed {
    let tenant = Packed::key(Tag::Handle).raw(key.tenant.as_str().as_bytes());
    tenant.u8(0).raw(key.handle.as_bytes())
}

fn encode(record: &HandleRecord) -> Packed {
    let fixed = Packed::value().raw(&record.account.to_bytes()).u64(record.created_at_ms);
    fixed.raw(record.password.as_bytes())
}

fn decode(value: &[u8]) -> Result<HandleRecord, StoreError> {
    let corrupt = |error: &dyn std::fmt::Display| StoreError::Corrupt(error.to_string());
    let mut parts = Parts::of(value);
    let account = parts.array::<16>()?;
    Ok(HandleRecord {
        account: AccountId::from_bytes(&account).map_err(|error| corrupt(&error))?,
        created_at_ms: parts.u64()?,
        password: String::from_utf8(parts.rest().into()).map_err(|error| corrupt(&error))?,
    })
}
