//! Asking the API server whose a token is. Only tokens that are bound to a pod that exists, and that
//! were made for the issuer, count.

use k8s_openapi::api::authentication::v1::{
    TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo,
};
use kube::api::PostParams;
use kube::{Api, Client};
use tonic::Status;

/// The audience of tokens for the issuer.
pub(super) const AUDIENCE: &str = "iris-issuer";

/// Who holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) namespace: String,
    pub(super) service_account: String,
    pub(super) pod: String,
    pub(super) pod_uid: String,
}

pub(super) async fn review(client: &Client, token: &str) -> Result<Holder, Status> {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(vec![AUDIENCE.to_owned()]),
        },
        ..TokenReview::default()
    };
    let api: Api<TokenReview> = Api::all(client.clone());
    let reviewed = api.create(&PostParams::default(), &review).await.map_err(|error| {
        let why = iris_runtime::rpc::chain(&error);
        tracing::warn!(why, "a token could not be reviewed");
        Status::unavailable(format!("the token could not be reviewed: {why}"))
    })?;
    holder_of(reviewed.status.unwrap_or_default())
}

fn holder_of(status: TokenReviewStatus) -> Result<Holder, Status> {
    if status.authenticated != Some(true) {
        let why = status.error.unwrap_or_else(|| "the API server does not know it".to_owned());
        return Err(Status::unauthenticated(format!("not a valid token: {why}")));
    }
    let for_us = status.audiences.iter().flatten().any(|audience| audience == AUDIENCE);
    if !for_us {
        return Err(Status::unauthenticated(format!("the token was not made for {AUDIENCE}")));
    }
    let user = status.user.unwrap_or_default();
    let account = user
        .username
        .as_deref()
        .and_then(|name| name.strip_prefix("system:serviceaccount:")?.split_once(':'));
    let Some((namespace, service_account)) = account else {
        return Err(Status::permission_denied("not a service account's token"));
    };
    let bound = |key| {
        extra(&user, key).ok_or_else(|| {
            Status::permission_denied("the token is not bound to a pod: use a projected one")
        })
    };
    Ok(Holder {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        pod: bound("authentication.kubernetes.io/pod-name")?,
        pod_uid: bound("authentication.kubernetes.io/pod-uid")?,
    })
}

fn extra(user: &UserInfo, key: &str) -> Option<String> {
    match user.extra.as_ref()?.get(key)?.as_slice() {
        [one] if !one.is_empty() => Some(one.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> TokenReviewStatus {
        let extra = [
            ("authentication.kubernetes.io/pod-name", "eu-owner-0"),
            ("authentication.kubernetes.io/pod-uid", "u-1"),
        ];
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec![AUDIENCE.to_owned()]),
            error: None,
            user: Some(UserInfo {
                username: Some("system:serviceaccount:iris:eu-owner".to_owned()),
                extra: Some(
                    extra.map(|(key, value)| (key.to_owned(), vec![value.to_owned()])).into(),
                ),
                ..UserInfo::default()
            }),
        }
    }

    #[test]
    fn a_bound_token_for_us_says_which_pod_it_is() {
        let holder = holder_of(good()).unwrap();
        assert_eq!(
            (holder.namespace.as_str(), holder.service_account.as_str()),
            ("iris", "eu-owner")
        );
        assert_eq!((holder.pod.as_str(), holder.pod_uid.as_str()), ("eu-owner-0", "u-1"));
    }

    #[test]
    fn anything_less_is_refused() {
        let spoil: [fn(&mut TokenReviewStatus); 6] = [
            |status| status.authenticated = Some(false),
            |status| status.authenticated = None,
            |status| status.audiences = Some(vec!["https://kubernetes.default.svc".to_owned()]),
            |status| status.audiences = None,
            |status| status.user.as_mut().unwrap().username = Some("admin".to_owned()),
            |status| status.user.as_mut().unwrap().extra = None,
        ];
        for (n, spoil) in spoil.into_iter().enumerate() {
            let mut status = good();
            spoil(&mut status);
            assert!(holder_of(status).is_err(), "{n}");
        }
        let mut two_pods = good();
        let extra = two_pods.user.as_mut().unwrap().extra.as_mut().unwrap();
        extra.get_mut("authentication.kubernetes.io/pod-name").unwrap().push("x".to_owned());
        assert!(holder_of(two_pods).is_err());
    }
}
