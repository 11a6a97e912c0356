//! A small S3 server in the test's own process, which misbehaves as a test wants: it answers 503, loses replies, ignores
//! conditions. No authentication, no multipart uploads.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Ran, Roots};

/// What the server makes of `If-None-Match: *`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Condition {
    /// One of many wins.
    Honoured,
    /// It is looked at first, and the object written later.
    CheckedThenWritten,
    /// It is not looked at.
    Ignored,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Trouble {
    /// 503, `SlowDown`; nothing is done.
    SlowDown,
    /// 403, `SignatureDoesNotMatch`.
    WrongSecret,
    /// It is done, and the connection closed instead of answering.
    ReplyLost,
}

type Troubles = dyn Fn(&str, &str, usize) -> Option<Trouble> + Send + Sync;

/// The server, until it is dropped.
pub(crate) struct FakeS3 {
    pub(crate) endpoint: String,
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    objects: Mutex<BTreeMap<String, (Vec<u8>, u64)>>,
    /// Unfinished uploads: key, id and when they were begun. Without, they cannot be listed.
    uploads: Mutex<Option<Vec<(String, String, String)>>>,
    condition: Condition,
    /// Told method, path and how many requests came before.
    troubles: Box<Troubles>,
    requests: AtomicUsize,
    at_once: AtomicUsize,
    /// So many requests at once are answered, others refused.
    capacity: AtomicUsize,
    refused: AtomicUsize,
    writes: AtomicUsize,
    /// Requests for data files, and the bytes they were given.
    reads: Mutex<(u64, u64)>,
    /// The headers of each PUT.
    puts: Mutex<Vec<BTreeMap<String, String>>>,
    stopped: AtomicBool,
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer(u16, Vec<(&'static str, String)>, Vec<u8>);

impl FakeS3 {
    /// A server on a free port.
    pub(crate) fn start(
        condition: Condition,
        troubles: impl Fn(&str, &str, usize) -> Option<Trouble> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            objects: Mutex::default(),
            uploads: Mutex::default(),
            condition,
            troubles: Box::new(troubles),
            requests: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            capacity: AtomicUsize::new(usize::MAX),
            refused: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            reads: Mutex::default(),
            puts: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let server = Arc::clone(&server);
                std::thread::spawn(move || drop(server.serve(stream.unwrap())));
            }
        });
        Self { endpoint, shared }
    }

    pub(crate) fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        self.shared.write(&format!("/bucket/{key}"), bytes.as_ref());
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.shared.objects.lock().unwrap().keys().cloned().collect()
    }

    /// Requests for data files and the bytes these were given, since it was last asked.
    pub(crate) fn take_reads(&self) -> (u64, u64) {
        std::mem::take(&mut self.shared.reads.lock().unwrap())
    }

    /// Says which uploads (key, id, time) were never finished.
    pub(crate) fn set_uploads(&self, uploads: &[(&str, &str, &str)]) {
        let owned = |upload: &(&str, &str, &str)| (upload.0.to_owned(), upload.1.to_owned(), upload.2.to_owned());
        *self.shared.uploads.lock().unwrap() = Some(uploads.iter().map(owned).collect());
    }

    /// The ids of those that were not given up.
    pub(crate) fn uploads(&self) -> Vec<String> {
        let uploads = self.shared.uploads.lock().unwrap();
        uploads.iter().flatten().map(|upload| upload.1.clone()).collect()
    }

    /// The headers of all PUTs so far.
    pub(crate) fn puts(&self) -> Vec<BTreeMap<String, String>> {
        self.shared.puts.lock().unwrap().clone()
    }

    /// From now on, refuses what is more than so many requests at once.
    pub(crate) fn limit(&self, capacity: usize) {
        self.shared.capacity.store(capacity, Ordering::SeqCst);
    }

    /// How many requests were refused for that.
    pub(crate) fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// Runs the binary with this server as its S3.
    pub(crate) fn run(&self, roots: &Roots, args: &[&str]) -> Ran {
        run(&self.endpoint, roots, args, 6)
    }
}

/// Runs the binary with `endpoint` as its S3, with one retry.
pub(crate) fn run_on(endpoint: &str, roots: &Roots, args: &[&str]) -> Ran {
    run(endpoint, roots, args, 2)
}

fn run(endpoint: &str, roots: &Roots, args: &[&str], attempts: u32) -> Ran {
    let mut command = roots.command(args);
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_SESSION_TOKEN", TOKEN)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_MAX_ATTEMPTS", attempts.to_string());
    Ran::of(&mut command)
}

/// What must never be seen in any output.
pub(crate) const SECRET: &str = "canary-secret-7f3a";
pub(crate) const TOKEN: &str = "canary-token-91c2";

impl Drop for FakeS3 {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.endpoint.strip_prefix("http://").unwrap());
    }
}

impl Shared {
    /// Answers the requests of one connection.
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some(request) = Request::read(&mut reader)? {
            let nth = self.requests.fetch_add(1, Ordering::SeqCst);
            let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            let is_much = at_once > self.capacity.load(Ordering::SeqCst);
            self.refused.fetch_add(usize::from(is_much), Ordering::SeqCst);
            let trouble =
                if is_much { Some(Trouble::SlowDown) } else { (self.troubles)(&request.method, &request.path, nth) };
            let error = |status, code: &str| {
                let body = format!(
                    "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>told {code}</Message></Error>"
                );
                Answer(status, Vec::new(), body.into_bytes())
            };
            let answer = match trouble {
                Some(Trouble::SlowDown) => Some(error(503, "SlowDown")),
                Some(Trouble::WrongSecret) => Some(error(403, "SignatureDoesNotMatch")),
                Some(Trouble::ReplyLost) => {
                    self.answer(&request);
                    None
                }
                None => Some(self.answer(&request)),
            };
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            if let Some(Answer(200 | 206, _, body)) = &answer
                && ["GET", "HEAD"].contains(&request.method.as_str())
                && request.path.ends_with(".parquet")
                && !request.path.contains("/_delta_log/")
            {
                let mut reads = self.reads.lock().unwrap();
                reads.0 += 1;
                reads.1 += if request.method == "GET" { body.len() as u64 } else { 0 };
            }
            let Some(Answer(status, headers, body)) = answer else { return Ok(()) };
            let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
            headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
            writer.write_all(head.as_bytes())?;
            writer.write_all(b"\r\n")?;
            if request.method != "HEAD" {
                writer.write_all(&body)?;
            }
        }
        Ok(())
    }

    fn write(&self, path: &str, bytes: &[u8]) -> u64 {
        let version = self.writes.fetch_add(1, Ordering::SeqCst) as u64;
        self.objects.lock().unwrap().insert(path.to_owned(), (bytes.to_owned(), version));
        version
    }

    fn answer(&self, request: &Request) -> Answer {
        let has = |name: &str| request.query.contains_key(name);
        match (request.method.as_str(), request.path.trim_end_matches('/') == "/bucket") {
            ("GET", true) if has("uploads") => self.list_uploads(request),
            ("DELETE", false) if has("uploadId") => {
                let id = &request.query["uploadId"];
                self.uploads.lock().unwrap().iter_mut().for_each(|uploads| uploads.retain(|upload| upload.1 != *id));
                Answer(204, Vec::new(), Vec::new())
            }
            ("GET", true) => self.list(request),
            ("POST", true) if has("delete") => self.delete_all(request),
            ("PUT", false) => self.put(request),
            ("GET" | "HEAD", false) => self.get(request),
            ("DELETE", false) => {
                self.objects.lock().unwrap().remove(&request.path);
                Answer(204, Vec::new(), Vec::new())
            }
            _ => Answer(501, Vec::new(), Vec::new()),
        }
    }

    fn put(&self, request: &Request) -> Answer {
        self.puts.lock().unwrap().push(request.headers.clone());
        let is_conditional = request.headers.contains_key("if-none-match");
        let refused = || Answer(412, Vec::new(), b"<Error><Code>PreconditionFailed</Code></Error>".to_vec());
        let version = match self.condition {
            Condition::Honoured if is_conditional => {
                let mut objects = self.objects.lock().unwrap();
                if objects.contains_key(&request.path) {
                    return refused();
                }
                let version = self.writes.fetch_add(1, Ordering::SeqCst) as u64;
                objects.insert(request.path.clone(), (request.body.clone(), version));
                version
            }
            Condition::CheckedThenWritten if is_conditional => {
                if self.objects.lock().unwrap().contains_key(&request.path) {
                    return refused();
                }
                std::thread::sleep(Duration::from_millis(20));
                self.write(&request.path, &request.body)
            }
            _ => self.write(&request.path, &request.body),
        };
        Answer(200, vec![("ETag", format!("\"{version}\""))], Vec::new())
    }

    fn get(&self, request: &Request) -> Answer {
        let objects = self.objects.lock().unwrap();
        let Some((bytes, version)) = objects.get(&request.path) else {
            return Answer(404, Vec::new(), b"<Error><Code>NoSuchKey</Code></Error>".to_vec());
        };
        let etag = format!("\"{version}\"");
        if request.headers.get("if-match").is_some_and(|wanted| *wanted != etag) {
            return Answer(412, Vec::new(), Vec::new());
        }
        let mut headers = vec![("ETag", etag), ("Last-Modified", "Tue, 04 Feb 2025 05:06:07 GMT".to_owned())];
        let range = request.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        let Some((start, end)) = range.and_then(|range| range.split_once('-')) else {
            return Answer(200, headers, bytes.clone());
        };
        let Some(last) = bytes.len().checked_sub(1) else { return Answer(416, Vec::new(), Vec::new()) };
        let (start, end) = match (start.parse::<usize>(), end.parse::<usize>()) {
            (Ok(start), Ok(end)) => (start, end.min(last)),
            (Ok(start), Err(_)) => (start, last),
            (Err(_), Ok(count)) => (bytes.len() - count.min(bytes.len()), last),
            (Err(_), Err(_)) => return Answer(400, Vec::new(), Vec::new()),
        };
        headers.push(("Content-Range", format!("bytes {start}-{end}/{}", bytes.len())));
        Answer(206, headers, bytes[start..=end].to_vec())
    }

    fn list(&self, request: &Request) -> Answer {
        let parameter = |name: &str| request.query.get(name).cloned().unwrap_or_default();
        let (prefix, delimiter) = (parameter("prefix"), parameter("delimiter"));
        let behind = parameter("continuation-token").max(parameter("start-after"));
        let most = parameter("max-keys").parse().unwrap_or(1000);
        let (mut text, mut folders, mut count, mut last) = (String::new(), Vec::new(), 0, None);
        for (path, (bytes, version)) in self.objects.lock().unwrap().iter() {
            let key = path.strip_prefix("/bucket/").unwrap();
            let Some(rest) = key.strip_prefix(&prefix).filter(|_| key > behind.as_str()) else { continue };
            if count == most {
                text.push_str(&format!("<NextContinuationToken>{}</NextContinuationToken>", last.unwrap_or_default()));
                break;
            }
            match rest.find('/').filter(|_| delimiter == "/") {
                Some(end) => {
                    let folder = key[..prefix.len() + end + 1].to_owned();
                    if !folders.contains(&folder) {
                        folders.push(folder);
                    }
                }
                None => {
                    let size = bytes.len();
                    text.push_str(&format!(
                        "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>2025-02-04T05:06:07.000Z</LastModified><ETag>\"{version}\"</ETag></Contents>"
                    ));
                    count += 1;
                }
            }
            last = Some(key.to_owned());
        }
        for folder in folders {
            text.push_str(&format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"));
        }
        Answer(200, Vec::new(), format!("<ListBucketResult>{text}</ListBucketResult>").into_bytes())
    }

    /// Two at a time.
    fn list_uploads(&self, request: &Request) -> Answer {
        let parameter = |name: &str| request.query.get(name).cloned().unwrap_or_default();
        let is_signed = request.headers.get("authorization").is_some_and(|text| text.contains("/us-east-1/s3/"));
        let uploads = self.uploads.lock().unwrap();
        let Some(uploads) = uploads.as_ref().filter(|_| is_signed) else {
            return Answer(403, Vec::new(), b"<Error><Code>AccessDenied</Code></Error>".to_vec());
        };
        let behind = (parameter("key-marker"), parameter("upload-id-marker"));
        let mut left = uploads
            .iter()
            .filter(|(key, id, _)| key.starts_with(&parameter("prefix")) && (key.clone(), id.clone()) > behind);
        let mut text = String::new();
        let mut next = String::new();
        for (key, id, begun) in left.by_ref().take(2) {
            let key = key.replace('&', "&amp;");
            text.push_str(&format!(
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{begun}</Initiated></Upload>"
            ));
            next = format!("<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>");
        }
        let is_more = left.next().is_some();
        let body = format!(
            "<ListMultipartUploadsResult><IsTruncated>{is_more}</IsTruncated>{next}{text}</ListMultipartUploadsResult>"
        );
        Answer(200, Vec::new(), body.into_bytes())
    }

    fn delete_all(&self, request: &Request) -> Answer {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let mut text = String::new();
        for part in body.split("<Key>").skip(1) {
            let key = part.split("</Key>").next().unwrap();
            self.objects.lock().unwrap().remove(&format!("/bucket/{key}"));
            text.push_str(&format!("<Deleted><Key>{key}</Key></Deleted>"));
        }
        Answer(200, Vec::new(), format!("<DeleteResult>{text}</DeleteResult>").into_bytes())
    }
}

impl Request {
    fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = query.split('&').filter(|pair| !pair.is_empty());
        let query = query.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        // As forms have them: a space is a plus.
        let query = query.map(|(name, value)| (decode(name), decode(&value.replace('+', " ")))).collect();
        Ok(Some(Self { method, path: decode(path), query, headers, body }))
    }
}
