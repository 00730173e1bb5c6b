//! A store that refuses: the error names the setting to look at, and never a secret.

use ompipe_archive::{Archive, LogWriter};
use rstest::rstest;

use crate::place::{Kind, Place};
use crate::run::folder;

/// All that a person could see of an error.
fn everything(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let told: Vec<String> = causes.map(|error| format!("{error} {error:?}")).collect();
    told.join(" ")
}

/// What a writer and a reader say.
async fn refused(archive: &Archive, secret: &str) -> [String; 2] {
    let written = async {
        let mut writer = LogWriter::open(archive, folder()).await?;
        writer.push(b"one\n");
        crate::run::store(&mut writer).await
    };
    let (written, listed) = (written.await.unwrap_err(), archive.namespaces().await.unwrap_err());
    for error in [&written, &listed] {
        let told = everything(error);
        assert!(!told.contains(secret), "{told}");
    }
    [written.to_string(), listed.to_string()]
}

const WRONG: &str = "d3JvbmctYnV0LXdlbGwtZm9ybWVk";

#[rstest]
#[case::s3_secret(Kind::S3, "AWS_SECRET_ACCESS_KEY", WRONG, "SignatureDoesNotMatch")]
#[case::azure_key(Kind::Azure, "AZURE_STORAGE_ACCOUNT_KEY", WRONG, "AuthorizationFailure")]
#[tokio::test]
async fn wrong_credentials_are_named_and_not_shown(
    #[case] kind: Kind,
    #[case] name: &str,
    #[case] wrong: &str,
    #[case] code: &str,
) {
    let place = Place::new(kind).await.with(name, wrong);
    for error in refused(&place.archive(), wrong).await {
        assert!(error.contains("refuses access") && error.contains(name), "{error}");
        assert!(error.contains(code) && error.len() < 800, "{error}");
    }
}

#[tokio::test]
async fn a_token_in_the_address_is_not_shown() {
    let token = format!("sv=2021-08-06&ss=b&srt=sco&sp=rwdl&se=2030-01-01T00:00:00Z&sig={WRONG}");
    let mut place = Place::new(Kind::Azure).await.with("AZURE_STORAGE_SAS_TOKEN", &token);
    place.variables.retain(|(name, _)| name != "AZURE_STORAGE_ACCOUNT_KEY");
    let archive = place.archive();
    refused(&archive, WRONG).await;
    place.server().kill();
    refused(&archive, WRONG).await;
}

#[rstest]
#[case::s3(Kind::S3, "s3://not-there/prefix", "NoSuchBucket")]
#[case::azure(Kind::Azure, "az://not-there/prefix", "ContainerNotFound")]
#[tokio::test]
async fn a_bucket_that_is_not_there_is_no_empty_archive(
    #[case] kind: Kind,
    #[case] url: &str,
    #[case] code: &str,
) {
    let mut place = Place::new(kind).await;
    url.clone_into(&mut place.url);
    for error in refused(&place.archive(), "a secret").await {
        assert!(error.contains("LOGS_ARCHIVE_URL") && error.contains(code), "{error}");
    }
}

#[rstest]
#[case("az://logs/prefix", &[("AZURE_STORAGE_ACCOUNT_NAME", "a"), ("AZURE_STORAGE_ACCOUNT_KEY", "&secret&")])]
#[case("gs://logs/prefix", &[("GOOGLE_SERVICE_ACCOUNT_KEY", "{\"private_key\": \"&secret&\"}")])]
#[case("gs://logs/prefix", &[("GOOGLE_SERVICE_ACCOUNT_KEY", "&secret&")])]
#[case("s3://logs/prefix", &[("AWS_SECRET_ACCESS_KEY", "&secret&"), ("AWS_CONDITIONAL_PUT", "perhaps")])]
fn settings_that_cannot_be_used_are_named_and_not_shown(
    #[case] url: &str,
    #[case] variables: &[(&str, &str)],
) {
    let given = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let error = Archive::open(url, given).unwrap_err();
    let told = everything(&error);
    assert!(!told.contains("&secret&"), "{told}");
    let named = error.to_string();
    assert!(variables.iter().all(|(name, _)| named.contains(name)), "{named}");
}
