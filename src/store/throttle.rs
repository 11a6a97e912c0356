//! How many requests a store over HTTP gets at once: fewer when it says that they are too many, slowly more when it does not.
//!
//! Retries are not made here but in one place, the store's client: it alone knows which requests may be repeated. What is here
//! sees each attempt of it.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use tokio::sync::Semaphore;

/// The most requests at once.
const MOST: usize = 64;

/// Makes clients whose requests are counted.
#[derive(Debug)]
pub(super) struct Throttling;

impl HttpConnector for Throttling {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Throttled { inner, limit: Limit::new(MOST) }))
    }
}

#[derive(Debug)]
struct Throttled {
    inner: HttpClient,
    limit: Limit,
}

#[async_trait]
impl HttpService for Throttled {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let begun = self.limit.begin().await;
        let answer = self.inner.execute(request).await;
        // 503 Slow Down and 429 Too Many Requests.
        let is_much = answer.as_ref().is_ok_and(|answer| matches!(answer.status().as_u16(), 503 | 429));
        begun.end(if is_much { Load::TooMuch } else { Load::Fine });
        answer
    }
}

/// What an answer says of the load.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Load {
    Fine,
    TooMuch,
}

/// A number of requests that halves at once and grows by one when as many in a row were answered.
#[derive(Debug)]
struct Limit {
    most: usize,
    free: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    allowed: usize,
    /// Permits that are to be dropped when they come back.
    owed: usize,
    /// Answers since the number changed.
    answers: usize,
    /// How often the number was halved. Requests of one burst count once.
    halved: u64,
}

/// A request under way.
struct Begun<'a> {
    limit: &'a Limit,
    halved: u64,
    is_over: bool,
}

impl Limit {
    fn new(most: usize) -> Self {
        let state = State { allowed: most, owed: 0, answers: 0, halved: 0 };
        Self { most, free: Semaphore::new(most), state: Mutex::new(state) }
    }

    async fn begin(&self) -> Begun<'_> {
        // It is never closed.
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        let halved = self.state.lock().unwrap_or_else(PoisonError::into_inner).halved;
        Begun { limit: self, halved, is_over: false }
    }
}

impl Begun<'_> {
    fn end(mut self, load: Load) {
        self.is_over = true;
        self.leave(load);
    }

    fn leave(&self, load: Load) {
        let mut state = self.limit.state.lock().unwrap_or_else(PoisonError::into_inner);
        match load {
            Load::TooMuch if state.halved == self.halved => {
                // Half of those that are under way, this one among them.
                let under_way = (state.allowed + state.owed).saturating_sub(self.limit.free.available_permits());
                let fewer = (state.allowed.min(under_way) / 2).max(1);
                let dropped = state.allowed - fewer;
                state.owed += dropped - self.limit.free.forget_permits(dropped);
                (state.allowed, state.answers) = (fewer, 0);
                state.halved += 1;
                tracing::info!(requests = fewer, "the store asks for fewer requests");
            }
            Load::TooMuch => {}
            Load::Fine => {
                state.answers += 1;
                if state.answers >= state.allowed && state.allowed < self.limit.most {
                    (state.allowed, state.answers) = (state.allowed + 1, 0);
                    match state.owed {
                        0 => self.limit.free.add_permits(1),
                        _ => state.owed -= 1,
                    }
                }
            }
        }
        match state.owed {
            0 => self.limit.free.add_permits(1),
            _ => state.owed -= 1,
        }
    }
}

/// A request that was dropped gives its place back.
impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.leave(Load::Fine);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn allowed(limit: &Limit) -> usize {
        limit.state.lock().unwrap().allowed
    }

    #[tokio::test]
    async fn a_burst_of_refusals_halves_the_number_once_and_answers_raise_it_again() {
        let limit = Limit::new(8);
        let mut burst = Vec::new();
        for _ in 0..8 {
            burst.push(limit.begin().await);
        }
        burst.into_iter().for_each(|begun| begun.end(Load::TooMuch));
        assert_eq!((allowed(&limit), limit.free.available_permits()), (4, 4));
        // Of eight that may be under way, two are.
        limit.begin().await.end(Load::TooMuch);
        assert_eq!((allowed(&limit), limit.free.available_permits()), (1, 1));
        for _ in 0..100 {
            limit.begin().await.end(Load::Fine);
        }
        assert_eq!((allowed(&limit), limit.free.available_permits()), (8, 8));
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_gives_its_place_back() {
        let limit = Limit::new(2);
        drop(limit.begin().await);
        drop(limit.begin().await);
        drop(limit.begin().await);
        assert_eq!(limit.free.available_permits(), 2);
    }
}
