//! Who may connect: anyone who knows the password (SCRAM-SHA-256), or anyone at all where there is none.

use std::fmt::Debug;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use futures::Sink;
use pgwire::api::auth::sasl::SASLAuthStartupHandler;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramAuth, gen_salted_password, random_nonce};
use pgwire::api::auth::{
    AuthSource, DefaultServerParameterProvider, LoginInfo, Password, StartupHandler, finish_authentication,
    protocol_negotiation, save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, PidSecretKeyGenerator, RandomPidSecretKeyGenerator};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::errors::end;
use super::settings::SERVER_VERSION;

static NUMBERS: LazyLock<Arc<RandomPidSecretKeyGenerator>> = LazyLock::new(Arc::default);

/// The password, salted; the password itself is not kept.
#[derive(Clone)]
pub struct Secret {
    salt: Vec<u8>,
    salted: Vec<u8>,
}

impl Secret {
    /// Salts a password.
    pub fn new(password: &str) -> Self {
        let salt = random_nonce().into_bytes();
        let salted = gen_salted_password(password, &salt, SCRAM_ITERATIONS);
        Self { salt, salted }
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[async_trait]
impl AuthSource for Secret {
    async fn get_password(&self, _: &LoginInfo) -> PgWireResult<Password> {
        Ok(Password::new(Some(self.salt.clone()), self.salted.clone()))
    }
}

/// Greets one connection.
pub(super) enum Startup {
    /// Takes it as it is.
    Open,
    /// Asks for the password.
    Password(SASLAuthStartupHandler<DefaultServerParameterProvider>),
    /// Sends it away.
    Full,
}

impl Startup {
    pub(super) fn new(secret: Option<&Secret>) -> Self {
        match secret {
            None => Self::Open,
            Some(secret) => {
                let numbers = Arc::clone(&*NUMBERS);
                let handler = SASLAuthStartupHandler::new(Arc::new(parameters()))
                    .with_scram(ScramAuth::new(Arc::new(secret.clone())))
                    .with_pid_secret_key_generator(numbers);
                Self::Password(handler)
            }
        }
    }
}

/// What the server tells of itself.
fn parameters() -> DefaultServerParameterProvider {
    let mut parameters = DefaultServerParameterProvider::default();
    parameters.server_version = SERVER_VERSION.to_owned();
    parameters.is_superuser = false;
    parameters.default_transaction_read_only = true;
    parameters.time_zone = "UTC".to_owned();
    parameters
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match (self, message) {
            (Self::Password(handler), message) => handler.on_startup(client, message).await,
            (Self::Open, PgWireFrontendMessage::Startup(startup)) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                let (pid, key) = NUMBERS.generate(client);
                client.set_pid_and_secret_key(pid, key);
                finish_authentication(client, &parameters()).await
            }
            (Self::Full, PgWireFrontendMessage::Startup(_)) => {
                Err(end("53300", "there are as many connections as the server takes"))
            }
            _ => Ok(()),
        }
    }
}
