//! Credentials as AWS's own tools find them: profiles, single sign-on, web identities, the role of the machine.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::provider::ProvideCredentials;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::{Mutex, OnceCell};

use crate::error::{Error, ErrorKind};

/// Credentials are asked for anew so long before they expire.
const EARLY: Duration = Duration::from_secs(300);

/// The chain of AWS's SDK, asked when the first request needs it, and again before what it gave expires.
pub(crate) struct Chain {
    profile: Option<String>,
    region: String,
    chain: OnceCell<DefaultCredentialsChain>,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    credential: Arc<AwsCredential>,
    expires: Option<SystemTime>,
}

impl Chain {
    /// With a profile of the user's AWS files; the usual one where none is named.
    pub(crate) fn new(profile: Option<&str>, region: &str) -> Self {
        Self { profile: profile.map(str::to_owned), region: region.to_owned(), chain: OnceCell::new(), kept: Mutex::default() }
    }

    async fn chain(&self) -> &DefaultCredentialsChain {
        let make = || async {
            let mut builder = DefaultCredentialsChain::builder().region(Region::new(self.region.clone()));
            if let Some(profile) = &self.profile {
                builder = builder.profile_name(profile);
            }
            builder.build().await
        };
        self.chain.get_or_init(make).await
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chain")
    }
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|k| k.expires.is_none_or(|e| SystemTime::now() + EARLY < e)) {
            return Ok(kept.credential.clone());
        }
        let found = self.chain().await.provide_credentials().await.map_err(|e| object_store::Error::Unauthenticated {
            path: String::new(),
            source: Box::new(
                Error::new(ErrorKind::Storage, "there are no credentials for the store")
                    .with_hint("set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `AWS_PROFILE` to a profile that has them; `AWS_SKIP_SIGNATURE=true` reads public buckets")
                    .with_source(e),
            ),
        })?;
        let credential = Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        });
        *kept = Some(Kept { credential: credential.clone(), expires: found.expiry() });
        Ok(credential)
    }
}
