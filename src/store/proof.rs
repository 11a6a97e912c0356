//! Proof that a store can hold tables: above all that of many writers that create one object at once, one wins.
//!
//! A store may ignore the condition (`If-None-Match: *`), or check it and write later. Then two runs at once can both believe
//! that they made a version of a table, and one of them is lost. No store says so; it must be tried.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use serde::Serialize;
use tokio::sync::Barrier;

use super::Location;
use crate::clock::Clock;
use crate::error::{Context as _, Error, ErrorKind, Result, describe};

/// The folder that proofs write in, below the location; no source has such a name.
const FOLDER: &str = "_siltstone_proof";
/// Writers and rounds of the proof that a run makes before it commits.
const QUICK: (usize, usize) = (16, 4);
/// Objects that are listed.
const LISTED: usize = 5;

/// What a store was tried for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What must hold.
    pub name: &'static str,
    /// Whether it does.
    pub holds: bool,
    /// What was seen.
    pub detail: String,
    /// How long it took.
    pub duration_ms: u64,
}

/// What became of rounds of writers that each tried to create the same object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Race {
    /// Writers in each round.
    pub racers: usize,
    /// Rounds.
    pub rounds: usize,
    /// Rounds that one writer won.
    pub one_winner: usize,
    /// Rounds that several won, or whose winner's object was not kept.
    pub broken: usize,
    /// The most winners of a round.
    pub most_winners: usize,
    /// Why a round proved nothing; the first.
    pub failure: Option<String>,
}

impl Race {
    /// Whether no round contradicts put-if-absent.
    fn is_unbroken(&self) -> bool {
        self.broken == 0
    }

    fn detail(&self) -> String {
        let Self { racers, rounds, one_winner, broken, most_winners, failure } = self;
        let mut text = format!("{racers} writers, {rounds} rounds, {one_winner} with one winner");
        if *broken > 0 {
            text.push_str(&format!(
                ", {broken} with several or whose object was overwritten (most winners: {most_winners})"
            ));
        }
        if let Some(failure) = failure {
            text.push_str(&format!("; {failure}"));
        }
        text
    }
}

/// A folder for proofs, which is emptied at the end.
struct Bench<'a> {
    location: &'a Location,
    folder: String,
    /// Local folders that writing makes, the lowest first.
    made: Vec<PathBuf>,
}

impl<'a> Bench<'a> {
    fn new(location: &'a Location, clock: &dyn Clock) -> Self {
        let folder = format!("{FOLDER}/{}", clock.new_id());
        let local = location.local().map(|root| root.join(&folder).join("x"));
        let above = local.iter().flat_map(|path| path.ancestors().skip(1));
        let made = above.take_while(|folder| !folder.exists()).map(FsPath::to_owned).collect();
        Self { location, folder, made }
    }

    fn store(&self) -> &Arc<dyn ObjectStore> {
        self.location.store()
    }

    fn object(&self, name: &str) -> Result<Path> {
        self.location.child(&format!("{}/{name}", self.folder))
    }

    /// Deletes all that was written, and the folders that were made for it.
    async fn clear(&self) -> Result<()> {
        let describe = || format!("cannot clear {} of {}", self.folder, self.location.url());
        let folder = self.object("x")?;
        let prefix = Path::from_iter(folder.parts().take(folder.parts_count() - 1));
        let listed: Vec<Path> =
            self.store().list(Some(&prefix)).map_ok(|meta| meta.location).try_collect().await.context(describe)?;
        let paths = futures::stream::iter(listed).map(Ok).boxed();
        let deleted = self.store().delete_stream(paths).try_collect::<Vec<_>>().await;
        let local = self.location.local().map(|root| root.join(&self.folder));
        for folder in local.iter().flat_map(|folder| [folder.join("listed"), folder.clone()]).chain(self.made.clone()) {
            // Only those that are empty go.
            let _ = std::fs::remove_dir(folder);
        }
        deleted.map(drop).context(describe)
    }

    /// Lets `racers` writers create one object at once, so many times.
    async fn race(&self, racers: usize, rounds: usize) -> Result<Race> {
        let mut race = Race { racers, rounds, ..Race::default() };
        for round in 0..rounds {
            let at = self.object(&format!("race-{round}"))?;
            let start = Arc::new(Barrier::new(racers));
            let run = |racer: usize| {
                let (store, at, start) = (Arc::clone(self.store()), at.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    store.put_opts(&at, payload(racer), PutOptions::from(PutMode::Create)).await
                })
            };
            let ended = join_all((0..racers).map(run)).await;
            let (mut winners, mut refused, mut failure) = (Vec::new(), 0, None);
            for (racer, ended) in ended.into_iter().enumerate() {
                match ended.context(|| "a writer was aborted".to_owned())? {
                    Ok(_) => winners.push(racer),
                    Err(StoreError::AlreadyExists { .. }) => refused += 1,
                    Err(error) => failure = Some(describe(&error)),
                }
            }
            // One that comes late, when no write is under way any more.
            let late = self.store().put_opts(&at, payload(racers), PutOptions::from(PutMode::Create)).await;
            let kept = async { self.store().get(&at).await?.bytes().await }.await;
            let is_kept = match (&winners[..], &kept) {
                ([winner], Ok(kept)) => *kept == text(*winner),
                _ => true,
            };
            race.most_winners = race.most_winners.max(winners.len());
            if winners.len() > 1 || !is_kept || late.is_ok() && winners.len() + refused > 0 {
                race.broken += 1;
            } else if let (1, None, Ok(_)) = (winners.len(), &failure, &kept) {
                race.one_winner += 1;
            } else {
                // A reply may have been lost; nothing speaks against the store.
                let why = failure.or_else(|| kept.err().map(|error| describe(&error)));
                race.failure.get_or_insert(why.unwrap_or_else(|| "a round without a winner".to_owned()));
            }
        }
        Ok(race)
    }
}

fn text(racer: usize) -> String {
    format!("writer {racer}")
}

fn payload(racer: usize) -> PutPayload {
    text(racer).into_bytes().into()
}

impl Location {
    /// Proves, before a run commits, that two runs at once cannot both make one version. Costs a few dozen small requests; none
    /// for local folders, where the operating system gives a name only once, and for stores that were handed over.
    ///
    /// # Errors
    /// When the store does not honour put-if-absent.
    pub async fn require_put_if_absent(&self, clock: &dyn Clock) -> Result<()> {
        if self.pages.is_none() {
            return Ok(());
        }
        let bench = Bench::new(self, clock);
        let (racers, rounds) = QUICK;
        let race = bench.race(racers, rounds).await;
        if let Err(error) = bench.clear().await {
            tracing::debug!(error = %describe(&error), "objects of a proof stay");
        }
        let race = race?;
        if race.is_unbroken() {
            // Rounds that failed prove nothing against the store; if it does not work, the run will say so.
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Failed,
            format!(
                "the store of {} lets several writers create one object ({}): two runs at once would lose records. See \
                 `siltstone doctor {}`. Where only one run at a time ever writes, set single_writer = true",
                self.url,
                race.detail(),
                self.url
            ),
        ))
    }

    /// Tries out what tables need of a store, and takes everything back that was written.
    ///
    /// # Errors
    /// When nothing could be tried.
    pub async fn examine(&self, racers: usize, rounds: usize, clock: &dyn Clock) -> Result<(Vec<Check>, Race)> {
        let bench = Bench::new(self, clock);
        let mut checks = Vec::new();
        let mut began = clock.now_micros();
        let mut note = |name, outcome: Result<String, String>| {
            let now = clock.now_micros();
            let (holds, detail) = match outcome {
                Ok(detail) => (true, detail),
                Err(detail) => (false, detail),
            };
            checks.push(Check { name, holds, detail, duration_ms: ((now - began).max(0) / 1000) as u64 });
            began = now;
            holds
        };
        let is_usable = note("an object is read back as it was written", bench.read_back().await);
        let mut race = Race { racers, rounds, ..Race::default() };
        if is_usable {
            note("an object that changed is not read as the old one", bench.changed().await);
            note("a listing shows every object once", bench.listed().await);
            let raced = bench.race(racers, rounds).await;
            let outcome = match raced {
                Ok(raced) => {
                    race = raced;
                    let holds = race.is_unbroken() && race.failure.is_none();
                    if holds { Ok(race.detail()) } else { Err(race.detail()) }
                }
                Err(error) => Err(describe(&error)),
            };
            note("of writers that create one object at once, one wins", outcome);
        }
        let cleared = match bench.clear().await {
            Ok(()) => bench.is_clear().await,
            Err(error) => Err(describe(&error)),
        };
        note("a deleted object is gone", cleared);
        Ok((checks, race))
    }
}

/// What a check came to: what was seen, or what is wrong.
type Outcome = Result<String, String>;

impl Bench<'_> {
    async fn read_back(&self) -> Outcome {
        let at = self.object("object").map_err(|error| describe(&error))?;
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let tried = async {
            self.store().put(&at, bytes.clone().into()).await?;
            let whole = self.store().get(&at).await?.bytes().await?;
            let part = self.store().get_range(&at, 50_000..50_100).await?;
            Ok((whole, part))
        };
        let (whole, part) = tried.await.map_err(|error: StoreError| describe(&error))?;
        match whole == bytes && part == bytes[50_000..50_100] {
            true => Ok(format!("{} bytes, whole and in part", bytes.len())),
            false => Err("other bytes came back".to_owned()),
        }
    }

    async fn changed(&self) -> Outcome {
        let at = self.object("changed").map_err(|error| describe(&error))?;
        let tried = async {
            self.store().put(&at, "before".into()).await?;
            let before = self.store().head(&at).await?;
            self.store().put(&at, "after, and longer".into()).await?;
            let after = self.store().head(&at).await?;
            let options = GetOptions { if_match: before.e_tag.clone(), ..GetOptions::default() };
            Ok((before, after, self.store().get_opts(&at, options).await))
        };
        let (before, after, old) = tried.await.map_err(|error: StoreError| describe(&error))?;
        match (before.e_tag, after.e_tag, old) {
            (None, ..) | (_, None, _) => Err("objects have no ETag".to_owned()),
            (Some(before), Some(after), _) if before == after => {
                Err("the ETag stays when the object changes".to_owned())
            }
            (.., Ok(_)) => Err("the new object is given although the old ETag was asked for".to_owned()),
            (.., Err(StoreError::Precondition { .. })) => Ok("its ETag tells it".to_owned()),
            (.., Err(error)) => Err(describe(&error)),
        }
    }

    async fn listed(&self) -> Outcome {
        let expected: Vec<Path> = (0..LISTED)
            .map(|n| self.object(&format!("listed/{n}")))
            .collect::<Result<_>>()
            .map_err(|error| describe(&error))?;
        let prefix = Path::from_iter(expected[0].parts().take(expected[0].parts_count() - 1));
        let tried = async {
            for at in &expected {
                self.store().put(at, "listed".into()).await?;
            }
            let listed = self.store().list(Some(&prefix)).map_ok(|meta| meta.location).try_collect().await?;
            let mut all: Vec<(&str, Vec<Path>)> = vec![("the listing", listed)];
            if let Some(pages) = &self.location.pages {
                let (mut paged, mut page_token) = (Vec::new(), None);
                for _ in 0..=LISTED {
                    let options =
                        PaginatedListOptions { max_keys: Some(2), page_token, ..PaginatedListOptions::default() };
                    let page = pages.list_paginated(Some(&format!("{prefix}/")), options).await?;
                    paged.extend(page.result.objects.into_iter().map(|meta| meta.location));
                    page_token = page.page_token;
                    if page_token.is_none() {
                        break;
                    }
                }
                all.push(("the listing by pages", paged));
            }
            Ok(all)
        };
        for (what, mut listed) in tried.await.map_err(|error: StoreError| describe(&error))? {
            listed.sort();
            if listed != expected {
                return Err(format!("{what} shows {} entries of {LISTED} objects", listed.len()));
            }
        }
        Ok(format!("{LISTED} objects, at once and by pages"))
    }

    async fn is_clear(&self) -> Outcome {
        let at = self.object("object").map_err(|error| describe(&error))?;
        match self.store().head(&at).await {
            Err(StoreError::NotFound { .. }) => Ok("nothing is left behind".to_owned()),
            Ok(_) => Err(format!("{at} is still there")),
            Err(error) => Err(describe(&error)),
        }
    }
}
