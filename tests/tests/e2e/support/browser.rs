//! Debian's Chromium, driven as the W3C's `WebDriver` says: enough of it for our page.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::wait::eventually;

/// A browser with one window. It ends with the test.
pub(crate) struct Browser {
    _driver: Child,
    session: String,
    client: Client,
}

impl Drop for Browser {
    /// Closes the session, also after a failed test: Chromium outlives a `chromedriver` that is killed.
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the test that failed")]
    fn drop(&mut self) {
        let path = self.session.strip_prefix("http://").unwrap();
        let (host, path) = path.split_once('/').unwrap();
        let request =
            format!("DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let closed = TcpStream::connect(host).and_then(|mut connection| {
            connection.set_read_timeout(Some(Duration::from_secs(10)))?;
            connection.write_all(request.as_bytes())?;
            connection.read(&mut [0; 1])
        });
        if let Err(error) = closed {
            eprintln!(
                "Chromium may still run, because chromedriver did not close its session: {error}"
            );
        }
    }
}

impl Browser {
    /// Starts a browser of that size whose user likes it dark or light.
    pub(crate) async fn start(size: (u32, u32), dark: bool) -> Self {
        let mut driver = Command::new("chromedriver");
        driver.args(["--port=0"]).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = driver.spawn().unwrap_or_else(|error| {
            panic!("no browser ({error}): setup/packages browser installs Debian's Chromium")
        });
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let client = Client::new();
        let theme = if dark { "--force-dark-mode" } else { "--light" };
        // As root it needs no sandbox of its own; every page is one of ours.
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            theme,
            "--disable-dev-shm-usage"
        ]);
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let root = format!("http://127.0.0.1:{port}/session");
        let made: Value =
            client.post(&root).json(&capabilities).send().await.unwrap().json().await.unwrap();
        let id = made["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{made}"));
        let browser = Self { _driver: driver, session: format!("{root}/{id}"), client };
        let (width, height) = size;
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        // A scroll bar would take its width from what is laid out, and not from the picture.
        browser.devtools("Emulation.setScrollbarsHidden", json!({ "hidden": true })).await;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.devtools("Emulation.setEmulatedMedia", media).await;
        browser
    }

    async fn call(&self, path: &str, body: &Value) -> Value {
        self.try_call(path, body).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn try_call(&self, path: &str, body: &Value) -> Result<Value, String> {
        let sent = self.client.post(format!("{}{path}", self.session)).json(body).send().await;
        let mut answer: Value = sent.unwrap().json().await.unwrap();
        if answer["value"]["error"].is_null() {
            Ok(answer["value"].take())
        } else {
            Err(format!("{path}: {answer}"))
        }
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.call("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await
    }

    /// Goes to a page and waits until it is loaded.
    pub(crate) async fn open(&self, url: &str) {
        self.call("/url", &json!({ "url": url })).await;
    }

    /// What a function body returns, run in the page.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.call("/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// The same of one that calls its last argument back.
    pub(crate) async fn run_async(&self, script: &str) -> Value {
        self.call("/execute/async", &json!({ "script": script, "args": [] })).await
    }

    /// The text that a person sees.
    pub(crate) async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap().to_owned()
    }

    /// Clicks the first element that a selector of CSS names, once the page has one: a click before may
    /// still be on its way to the page.
    pub(crate) async fn click(&self, selector: &str) {
        let wanted = json!({ "using": "css selector", "value": selector });
        eventually("an element to click", || async {
            let found = self.try_call("/element", &wanted).await?;
            let id = found.as_object().unwrap().values().next().unwrap().as_str().unwrap();
            self.try_call(&format!("/element/{id}/click"), &json!({})).await
        })
        .await;
    }

    /// What the browser complains of, such as a script that the policy forbids.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let entries = self.call("/se/log", &json!({ "type": "browser" })).await;
        let entries = entries.as_array().unwrap().iter();
        let bad = entries.filter(|entry| entry["level"] == "SEVERE");
        bad.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Keeps a picture of the whole page, to be looked at.
    pub(crate) async fn screenshot(&self, name: &str) {
        let all = json!({ "captureBeyondViewport": true, "format": "png" });
        let picture = self.devtools("Page.captureScreenshot", all).await;
        let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.build/screenshots");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }

    /// What axe finds on the page that is serious, or worse.
    pub(crate) async fn accessibility_faults(&self) -> Vec<String> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../.build/axe/node_modules/axe-core/axe.min.js");
        let axe = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; setup/axe gets it", path.display()));
        // The page's policy lets no script in; the driver's is none of the page.
        self.run(&axe).await;
        let found = self
            .run_async(
                "const done = arguments[arguments.length - 1]; \
                 axe.run().then((found) => done(found.violations), (error) => done([{ id: String(error), impact: 'critical', nodes: [] }]))",
            )
            .await;
        let serious =
            |fault: &&Value| matches!(fault["impact"].as_str(), Some("serious" | "critical"));
        let words = |fault: &Value| format!("{}: {}", fault["id"], fault["nodes"][0]["html"]);
        found.as_array().unwrap().iter().filter(serious).map(words).collect()
    }
}
