// Command gcs serves fake-gcs-server for tests of the archive: it keeps one bucket in memory.
//
// The client of the archive stores objects with the PUT of Google's XML API, which fake-gcs-server only knows
// with a signed URL, and without conditions. So this command hands such a PUT on as an upload of the JSON API.
// The objects, their generations, the conditions on those, reads, lists and deletes are fake-gcs-server's.
package main

import (
	"encoding/json"
	"encoding/xml"
	"flag"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func main() {
	address := flag.String("address", "127.0.0.1:4443", "address to listen on")
	bucket := flag.String("bucket", "logs", "bucket to create")
	flag.Parse()
	store, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		NoListener: true, Scheme: "http", PublicHost: *address, ExternalURL: "http://" + *address,
	})
	if err != nil {
		log.Fatal(err)
	}
	store.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: *bucket})
	server := http.Server{Addr: *address, Handler: puts(store.HTTPHandler()), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}

// puts answers a PUT of the XML API, and leaves every other request to next.
func puts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			next.ServeHTTP(w, r)
			return
		}
		stored := httptest.NewRecorder()
		next.ServeHTTP(stored, upload(r))
		answer(w, stored)
	})
}

// upload is the request of the JSON API that stores the same object.
func upload(r *http.Request) *http.Request {
	bucket, object, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := url.Values{"uploadType": {"media"}, "name": {object}}
	if generation := r.Header.Get("x-goog-if-generation-match"); generation != "" {
		query.Set("ifGenerationMatch", generation)
	}
	upload := r.Clone(r.Context())
	upload.Method = http.MethodPost
	upload.URL = &url.URL{Path: "/upload/storage/v1/b/" + bucket + "/o", RawQuery: query.Encode()}
	upload.RequestURI = upload.URL.String()
	return upload
}

// answer writes what the XML API would: the version in headers, or an error in XML.
func answer(w http.ResponseWriter, stored *httptest.ResponseRecorder) {
	if stored.Code != http.StatusOK {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(stored.Code)
		refusal := struct {
			XMLName xml.Name `xml:"Error"`
			Code    string
		}{Code: strings.ReplaceAll(http.StatusText(stored.Code), " ", "")}
		_ = xml.NewEncoder(w).Encode(refusal)
		return
	}
	var object struct{ Etag, Generation string }
	if err := json.Unmarshal(stored.Body.Bytes(), &object); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("ETag", `"`+object.Etag+`"`)
	w.Header().Set("x-goog-generation", object.Generation)
}
