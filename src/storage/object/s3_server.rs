//! A small S3 for tests, in memory, that misbehaves as told. Owns objects, uploads and the script of faults; speaks as much
//! of the protocol as the client library uses.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

/// Requests told apart by the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Put,
    Head,
    Get,
    List,
    ListUploads,
    Delete,
    Begin,
    Part,
    Complete,
    Abort,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Not done; this status and error code.
    Refuse(u16, &'static str),
    /// Not done; refused with 503 and this `Retry-After`.
    Busy(u32),
    /// Done, but the answer says otherwise.
    DoThenRefuse(u16, &'static str),
    /// Not done; status 200 with an error inside.
    RefuseWithin200(&'static str),
    /// Done, but the answer never comes.
    DoThenHang,
    /// Done, but the connection breaks within the answer.
    DoThenBreak,
    /// Another writer comes first.
    After(&'static str, Bytes),
}

#[derive(Clone)]
pub(super) struct S3Server {
    pub(super) endpoint: String,
    pub(super) lake: Arc<Lake>,
}

#[derive(Default)]
pub(super) struct Lake {
    objects: Mutex<BTreeMap<String, Bytes>>,
    uploads: Mutex<BTreeMap<String, BTreeMap<u32, Bytes>>>,
    /// Key, upload and moment of its beginning, as the list of uploads tells them.
    left_uploads: Mutex<Vec<(String, String, String)>>,
    begun: AtomicUsize,
    script: Mutex<VecDeque<(Op, Act)>>,
    seen: Mutex<Vec<Op>>,
    /// Bodies that came without a hash of their content.
    pub(super) unhashed_bodies: AtomicUsize,
    pub(super) ignores_conditions: AtomicBool,
    /// Bodies take their time.
    pub(super) is_slow: AtomicBool,
    /// Bytes of the bodies that are there at a time, and the most of them so far.
    upload_bytes: AtomicUsize,
    pub(super) most_upload_bytes: AtomicUsize,
    pub(super) completes_only_plainly: AtomicBool,
    pub(super) lists_nothing: AtomicBool,
}

impl S3Server {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let lake = Arc::new(Lake::default());
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&lake));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { endpoint, lake }
    }

    /// The next request of this kind goes this way; several wait in line.
    pub(super) fn script(&self, op: Op, act: Act) {
        self.lake.script.lock().unwrap().push_back((op, act));
    }

    pub(super) fn object(&self, key: &str) -> Option<Bytes> {
        self.lake.objects.lock().unwrap().get(key).cloned()
    }

    pub(super) fn put(&self, key: &str, bytes: Bytes) {
        self.lake.objects.lock().unwrap().insert(key.to_owned(), bytes);
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.lake.objects.lock().unwrap().keys().cloned().collect()
    }

    pub(super) fn open_uploads(&self) -> usize {
        self.lake.uploads.lock().unwrap().len()
    }

    pub(super) fn drop_uploads(&self) {
        self.lake.uploads.lock().unwrap().clear();
    }

    /// An upload of another process, begun at this moment (RFC 3339). The list of uploads tells of no others.
    pub(super) fn leave_upload(&self, key: &str, id: &str, initiated: &str) {
        let left = (key.to_owned(), id.to_owned(), initiated.to_owned());
        self.lake.left_uploads.lock().unwrap().push(left);
    }

    /// The ids of those that are still there.
    pub(super) fn left_uploads(&self) -> Vec<String> {
        self.lake.left_uploads.lock().unwrap().iter().map(|(_, id, _)| id.clone()).collect()
    }

    pub(super) fn count(&self, op: Op) -> usize {
        self.lake.seen.lock().unwrap().iter().filter(|seen| **seen == op).count()
    }

    /// Whether every scripted fault came to pass.
    pub(super) fn script_is_done(&self) -> bool {
        self.lake.script.lock().unwrap().is_empty()
    }
}

async fn answer(State(lake): State<Arc<Lake>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let key = decoded(parts.uri.path())
        .trim_start_matches('/')
        .split_once('/')
        .map_or(String::new(), |(_, key)| key.into());
    let op = op_of(&parts.method, &query);
    lake.seen.lock().unwrap().push(op);
    if lake.is_slow.load(Ordering::Relaxed) {
        let together = lake.upload_bytes.fetch_add(body.len(), Ordering::Relaxed) + body.len();
        lake.most_upload_bytes.fetch_max(together, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
        lake.upload_bytes.fetch_sub(body.len(), Ordering::Relaxed);
    }
    let hash = parts.headers.get("x-amz-content-sha256").map_or(0, axum::http::HeaderValue::len);
    if matches!(op, Op::Put | Op::Part) && hash != 64 {
        lake.unhashed_bodies.fetch_add(1, Ordering::Relaxed);
    }
    let work = || lake.work(op, &key, &query, &parts.headers, body.clone());
    match lake.next_act(op) {
        None => work(),
        Some(Act::Refuse(status, code)) => error(status, code),
        Some(Act::Busy(seconds)) => {
            let mut response = error(503, "SlowDown");
            response.headers_mut().insert("retry-after", seconds.into());
            response
        }
        Some(Act::DoThenRefuse(status, code)) => {
            work();
            error(status, code)
        }
        Some(Act::RefuseWithin200(code)) => error(200, code),
        Some(Act::DoThenHang) => {
            work();
            std::future::pending().await
        }
        Some(Act::DoThenBreak) => {
            work();
            let broken = stream::iter([Ok(Bytes::from_static(b"<Comp")), Err(io::Error::other("cut"))]);
            Response::builder().header("content-length", 1000).body(Body::from_stream(broken)).unwrap()
        }
        Some(Act::After(key, bytes)) => {
            lake.objects.lock().unwrap().insert(key.to_owned(), bytes);
            work()
        }
    }
}

impl Lake {
    fn next_act(&self, op: Op) -> Option<Act> {
        let mut script = self.script.lock().unwrap();
        let index = script.iter().position(|(scripted, _)| *scripted == op)?;
        script.remove(index).map(|(_, act)| act)
    }

    fn work(
        &self,
        op: Op,
        key: &str,
        query: &BTreeMap<String, String>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response {
        let mut objects = self.objects.lock().unwrap();
        let mut uploads = self.uploads.lock().unwrap();
        let conditional = headers.get("if-none-match").is_some();
        let taken =
            conditional && objects.contains_key(key) && !self.ignores_conditions.load(Ordering::Relaxed);
        let upload_id = query.get("uploadId").cloned().unwrap_or_default();
        match op {
            Op::Put if taken => error(412, "PreconditionFailed"),
            Op::Put => {
                objects.insert(key.to_owned(), body);
                Response::builder().header("etag", "\"e\"").body(Body::empty()).unwrap()
            }
            Op::Head | Op::Get => match objects.get(key) {
                None => error(404, "NoSuchKey"),
                Some(object) => found(op, object, headers),
            },
            Op::List => self.listing(&objects, query),
            Op::ListUploads => self.upload_listing(query),
            Op::Delete => {
                let body = String::from_utf8(body.to_vec()).unwrap();
                let key = &body[body.find("<Key>").unwrap() + 5..body.find("</Key>").unwrap()];
                objects.remove(key);
                xml(format!("<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>"))
            }
            Op::Begin => {
                let id = format!("upload-{}", self.begun.fetch_add(1, Ordering::Relaxed));
                uploads.insert(id.clone(), BTreeMap::new());
                xml(format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            Op::Part => match uploads.get_mut(&upload_id) {
                None => error(404, "NoSuchUpload"),
                Some(parts) => {
                    parts.insert(query["partNumber"].parse().unwrap(), body);
                    Response::builder().header("etag", "\"p\"").body(Body::empty()).unwrap()
                }
            },
            Op::Complete if conditional && self.completes_only_plainly.load(Ordering::Relaxed) => {
                error(501, "NotImplemented")
            }
            Op::Complete if !uploads.contains_key(&upload_id) => error(404, "NoSuchUpload"),
            Op::Complete if taken => error(412, "PreconditionFailed"),
            Op::Complete => {
                let parts = uploads.remove(&upload_id).unwrap();
                objects.insert(key.to_owned(), parts.values().flatten().copied().collect::<Vec<u8>>().into());
                xml("<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>"
                    .into())
            }
            Op::Abort => {
                uploads.remove(&upload_id);
                self.left_uploads.lock().unwrap().retain(|(_, id, _)| *id != upload_id);
                Response::builder().status(204).body(Body::empty()).unwrap()
            }
        }
    }

    /// Two uploads a page, ordered by key and id.
    fn upload_listing(&self, query: &BTreeMap<String, String>) -> Response {
        let value = |name: &str| query.get(name).cloned().unwrap_or_default();
        let (prefix, after) = (value("prefix"), (value("key-marker"), value("upload-id-marker")));
        let mut left = self.left_uploads.lock().unwrap().clone();
        left.sort();
        left.retain(|(key, id, _)| key.starts_with(&prefix) && (key.clone(), id.clone()) > after);
        let page = &left[..left.len().min(2)];
        let mut body = format!("<IsTruncated>{}</IsTruncated>", left.len() > page.len());
        if let Some((key, id, _)) = page.last() {
            write!(body, "<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>")
                .unwrap();
        }
        for (key, id, initiated) in page {
            write!(body, "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Owner><ID>o</ID></Owner>")
                .unwrap();
            write!(body, "<Initiated>{initiated}</Initiated></Upload>").unwrap();
        }
        xml(format!("<ListMultipartUploadsResult><Bucket>lake</Bucket>{body}</ListMultipartUploadsResult>"))
    }

    fn listing(&self, objects: &BTreeMap<String, Bytes>, query: &BTreeMap<String, String>) -> Response {
        let prefix = query.get("prefix").map_or("", String::as_str);
        let visible = |key: &&String| key.starts_with(prefix) && !self.lists_nothing.load(Ordering::Relaxed);
        let mut contents = String::new();
        for key in objects.keys().filter(visible) {
            let size = objects[key].len();
            contents += "<Contents><ETag>e</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified>";
            write!(contents, "<Key>{key}</Key><Size>{size}</Size></Contents>").unwrap();
        }
        xml(format!("<ListBucketResult>{contents}</ListBucketResult>"))
    }
}

fn op_of(method: &Method, query: &BTreeMap<String, String>) -> Op {
    let has = |name: &str| query.contains_key(name);
    match method.as_str() {
        "PUT" if has("partNumber") => Op::Part,
        "PUT" => Op::Put,
        "HEAD" => Op::Head,
        "GET" if has("list-type") => Op::List,
        "GET" if has("uploads") => Op::ListUploads,
        "GET" => Op::Get,
        "POST" if has("uploads") => Op::Begin,
        "POST" if has("uploadId") => Op::Complete,
        "POST" if has("delete") => Op::Delete,
        "DELETE" if has("uploadId") => Op::Abort,
        _ => panic!("{method} with {query:?} is not known"),
    }
}

fn found(op: Op, object: &Bytes, headers: &HeaderMap) -> Response {
    let response =
        Response::builder().header("etag", "\"e\"").header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT");
    if op == Op::Head {
        return response.header("content-length", object.len()).body(Body::empty()).unwrap();
    }
    let range = headers["range"].to_str().unwrap().strip_prefix("bytes=").unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let last = last.min(object.len() - 1);
    response
        .status(206)
        .header("content-range", format!("bytes {first}-{last}/{}", object.len()))
        .body(Body::from(object.slice(first..=last)))
        .unwrap()
}

fn error(status: u16, code: &str) -> Response {
    let body = format!("<Error><Code>{code}</Code><Message>as scripted</Message></Error>");
    Response::builder().status(status).body(Body::from(body)).unwrap()
}

fn xml(body: String) -> Response {
    Response::new(Body::from(body))
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}
