//! Secrets that people provide: whether they are there, with the keys that pods will look for. Their
//! values are never read further, kept or told.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::error::{Error, Tried};

/// A Secret that something needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its name.
    pub name: String,
    /// The keys that it must have.
    pub keys: &'static [&'static str],
    /// Where it is asked for, as people find it.
    pub field: &'static str,
}

/// Refuses if a Secret is missing, or a key in it.
pub async fn check(client: &Client, namespace: &str, needs: &[Need]) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for need in needs {
        let found = api.get_opt(&need.name).await;
        let found = found.tried(|| format!("cannot read Secret {namespace}/{}", need.name))?;
        judge(namespace, need, found.as_ref())?;
    }
    Ok(())
}

fn judge(namespace: &str, need: &Need, found: Option<&Secret>) -> Result<(), Error> {
    let Need { name, keys, field } = need;
    let keys_text = keys.join(", ");
    let Some(found) = found else {
        return Err(Error::blocked(
            "SecretMissing",
            format!(
                "Secret {namespace}/{name} is not there: {field} needs it with the keys {keys_text}. \
                 Nothing is changed until it is"
            ),
        ));
    };
    let has = |key: &&&str| {
        found
            .data
            .as_ref()
            .and_then(|data| data.get(**key))
            .is_some_and(|value| !value.0.is_empty())
    };
    let missing: Vec<_> = keys.iter().filter(|key| !has(key)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::blocked(
        "SecretIncomplete",
        format!(
            "Secret {namespace}/{name} lacks {}: {field} needs it with the keys {keys_text}",
            missing.join(", ")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_is_expected() {
        let need = Need {
            name: "cassandra".to_owned(),
            keys: &["username", "password"],
            field: "spec.cassandra.credentialsSecretRef",
        };
        let missing = judge("iris", &need, None).unwrap_err();
        assert_eq!(missing.category(), "SecretMissing");
        let text = missing.to_string();
        for part in ["iris/cassandra", "username, password", "credentialsSecretRef"] {
            assert!(text.contains(part), "{text}");
        }
        let with = |keys: &[&str]| Secret {
            data: Some(keys.iter().map(|key| ((*key).to_owned(), ByteString(vec![1]))).collect()),
            ..Secret::default()
        };
        let half = judge("iris", &need, Some(&with(&["username"]))).unwrap_err();
        assert_eq!(half.category(), "SecretIncomplete");
        assert!(half.to_string().contains("lacks password"), "{half}");
        assert!(judge("iris", &need, Some(&with(&["username", "password"]))).is_ok());
    }
}
