// Routes on a tiny real model, and the gate before them. Sockets are tests/service's.
#include "server/service.h"

#include <gtest/gtest.h>

#include <future>

#include "server/gate.h"
#include "server/page.h"
#include "support/temporary_folder.h"
#include "support/tiny_model.h"

namespace textvec::server {
namespace {

using testing::TemporaryFolder;
using testing::TinyModel;

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() {
    TinyModel().write(folder_ / "model");
    LoadOptions load;
    load.cache_folder = folder_ / "cache";
    load.threads = 1;
    const std::string model = (folder_ / "model").string();
    const std::vector<Source> sources{{model, "tiny"}, {model, "owner/b %"}};
    options.aliases = {"alias", "owner/b %"};
    models = Models::load(sources, load, options).value();
    service = std::make_unique<Service>(*models, options.limits, 2);
  }
  ~ServiceTest() override { EXPECT_TRUE(service->wait_until_idle(std::chrono::seconds(60))); }

  Reply post(std::string_view path, std::string body, std::stop_token stop = {}) {
    std::string allowed;
    const Route* route = service->find("POST", path, allowed);
    EXPECT_NE(route, nullptr);
    EXPECT_TRUE(Service::takes_time(*route));
    Request request;
    request.path = path;
    request.body = std::move(body);
    request.arrived = Admission::Clock::now();
    request.deadline = request.arrived + std::chrono::minutes(1);
    request.stop = std::move(stop);
    auto place = service->admission().enter();
    EXPECT_FALSE(place.busy);
    std::promise<Reply> promise;
    service->answer(*route, std::move(request), std::move(place.place),
                    [&promise](Reply answer) { promise.set_value(std::move(answer)); });
    return promise.get_future().get();
  }
  Reply get(std::string_view path) {
    std::string allowed;
    return service->answer_now(*service->find("GET", path, allowed), {path, 3, {}});
  }

  // What the gate says to a request: 0, it may pass, or the reply's status.
  unsigned gate(const std::string& method, const std::string& target, const std::string& fields,
                Passage* passage = nullptr) {
    HeadReader reader(options.limits);
    const std::string text = method + " " + target + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
    EXPECT_EQ(reader.read(text), HeadReader::State::Done) << text;
    Framing framing;
    EXPECT_FALSE(read_framing(reader.head(), options.limits, framing));
    Passage own;
    reply = check_head(reader.head(), framing, keys, options, *service, is_local,
                       passage ? *passage : own);
    return reply ? reply->status : 0;
  }
  std::string field(const Reply& of, std::string_view name) const {
    for (const auto& [key, value] : of.fields) {
      if (key == name) return value;
    }
    return {};
  }

  TemporaryFolder folder_{};
  ServeOptions options{};
  Keys keys{};
  bool is_local = true;
  std::unique_ptr<Models> models{};
  std::unique_ptr<Service> service{};
  std::optional<Reply> reply{};
};

TEST_F(ServiceTest, GivesTheEnginesVectors) {
  const auto vector = models->first()->engine.embed("w5 w6");
  ASSERT_TRUE(vector);
  const std::string row = tei_embeddings(*vector);
  EXPECT_EQ(post("/embed", R"({"inputs":"w5 w6"})").body, row);
  EXPECT_EQ(post("/embed", R"({"inputs":["w5 w6"]})").body, row);
  // The template's [CLS] is 2, its [SEP] is 3, and w5 is 5.
  EXPECT_EQ(post("/embed", R"({"inputs":[2,5,6,3]})").body, row);
  const Reply answer = post("/v1/embeddings", R"({"input":"w5 w6"})");
  EXPECT_NE(answer.body.find(row.substr(1, row.size() - 2)), std::string::npos);
  EXPECT_EQ(answer.tokens, 4U);
  EXPECT_EQ(field(answer, "x-compute-tokens"), "4");
  EXPECT_EQ(field(answer, "x-compute-characters"), "5");
  EXPECT_NE(post("/api/embed", R"({"input":"w5 w6"})").body.find(row), std::string::npos);
}

TEST_F(ServiceTest, NamesTheTextThatIsBad) {
  std::string words;
  for (int i = 0; i < 40; ++i) words += "w5 ";  // the model takes 32 tokens
  const std::string list = R"(["w5",")" + words + R"("],"truncate":false})";
  EXPECT_EQ(post("/embed", R"({"inputs":)" + list).status, 422U);
  EXPECT_EQ(post("/embed", R"({"inputs":)" + list).body.find(R"({"error":"inputs[1]: text of 42)"),
            0U);
  EXPECT_EQ(post("/v1/embeddings", R"({"input":)" + list).status, 400U);
  EXPECT_EQ(post("/embed", R"({"inputs":")" + words + R"(","truncate":false})")
                .body.find(R"({"error":"inputs: text of 42)"),
            0U);
  EXPECT_EQ(post("/embed", R"({"inputs":[39]})").status, 200U);
  EXPECT_EQ(post("/embed", R"({"inputs":[40]})").status, 422U);  // 40 words are 0 to 39
  EXPECT_NE(post("/similarity", R"({"inputs":{"source_sentence":"w5","sentences":["w6",")" + words +
                                    R"("]},"parameters":{"truncate":false}})")
                .body.find("inputs.sentences[1]: "),
            std::string::npos);
  EXPECT_EQ(post("/v1/embeddings", R"({"input":["w5",")" + words + R"("]})").status, 200U);
}

TEST_F(ServiceTest, DropsWhatNobodyWaitsFor) {
  std::stop_source gone;
  gone.request_stop();
  EXPECT_EQ(post("/embed", R"({"inputs":"w5"})", gone.get_token()).status, 503U);
  EXPECT_NE(get("/metrics").body.find("te_request_failure{err=\"dropped\"} 1"), std::string::npos);
}

TEST_F(ServiceTest, GivesBackItsPlaces) {
  post("/embed", R"({"inputs":["w5","w6"]})");
  post("/embed", "nothing");
  post("/decode", R"({"ids":[999]})");
  ASSERT_TRUE(service->wait_until_idle(std::chrono::seconds(60)));
  EXPECT_EQ(service->admission().counts().requests, 0U);
  EXPECT_EQ(service->admission().counts().texts, 0U);
  EXPECT_EQ(service->admission().counts().bytes, 0U);
}

TEST_F(ServiceTest, SaysWhatItIs) {
  EXPECT_NE(get("/info").body.find("\"max_input_length\":32"), std::string::npos);
  EXPECT_NE(get("/v1/models").body.find("\"id\":\"tiny\""), std::string::npos);
  EXPECT_NE(get("/metrics").body.find("textvec_connections 3\n"), std::string::npos);
  EXPECT_NE(get("/openapi.json").body.find("\"/v1/embeddings\""), std::string::npos);
  EXPECT_EQ(get("/readyz").status, 200U);
  EXPECT_EQ(get("/").status, 200U);
  service->drain();
  EXPECT_EQ(get("/readyz").status, 503U);
  EXPECT_EQ(get("/").status, 503U);
  EXPECT_EQ(get("/livez").status, 200U);
}

TEST_F(ServiceTest, AsksTheModelThatABodyNames) {
  const auto status = [this](std::string_view path, const std::string& model) {
    return post(path, R"({"input":"w5","model":)" + model + "}").status;
  };
  for (const std::string path : {"/v1/embeddings", "/embeddings", "/api/embed"}) {
    for (const std::string model : {"\"tiny\"", "\"owner/b %\"", "\"alias\"", "null"}) {
      EXPECT_EQ(status(path, model), 200U) << path << model;
    }
    EXPECT_EQ(status(path, "\"Tiny\""), 404U);
    EXPECT_EQ(status(path, "\"\""), 404U);
    EXPECT_EQ(status(path, "7"), 400U);
  }
  EXPECT_EQ(status("/api/embed", "\"tiny:latest\""), 200U);
  EXPECT_EQ(status("/api/embed", "\"x:latest\""), 404U);
  EXPECT_EQ(status("/v1/embeddings", "\"tiny:latest\""), 404U);
  // A name is worth more than an alias.
  EXPECT_NE(post("/v1/embeddings", R"({"input":"w5","model":"owner/b %"})")
                .body.find(R"("model":"owner/b %")"),
            std::string::npos);
  EXPECT_NE(post("/v1/embeddings", R"({"input":"w5","model":"x"})")
                .body.find("model: is not served here; tiny, owner/b % are"),
            std::string::npos);
  const std::string metrics = get("/metrics").body;
  EXPECT_NE(metrics.find("textvec_texts_total{model=\"owner/b %\"} 4\n"), std::string::npos);
  EXPECT_NE(metrics.find("textvec_provider_fallback{model=\"owner/b %\"} 0\n"), std::string::npos);
}

TEST_F(ServiceTest, ShowsOneModel) {
  for (const std::string name : {"owner/b%20%25", "owner%2Fb%20%25", "owner%2fb%20%25"}) {
    const Reply one = get("/v1/models/" + name);
    EXPECT_EQ(one.status, 200U) << name;
    EXPECT_EQ(one.body.find(R"({"id":"owner/b %","object":"model",)"), 0U) << one.body;
  }
  EXPECT_EQ(get("/v1/models/alias").body.find(R"({"id":"tiny",)"), 0U);
  for (const std::string name : {"x", "tiny/", "owner/b %", "tiny%", "tiny%2", "tiny%zz", "%2",
                                 "tiny%00", "tin%7", "/tiny", "%+9"}) {
    const Reply none = get("/v1/models/" + name);
    EXPECT_EQ(none.status, 404U) << name;
    EXPECT_NE(none.body.find(R"("code":"model_not_found")"), std::string::npos) << none.body;
  }
  EXPECT_EQ(gate("GET", "/v1/models/", ""), 404U);
  EXPECT_EQ(gate("POST", "/v1/models/tiny", ""), 405U);
  EXPECT_EQ(gate("GET", "/v1/models/tiny?x=y", ""), 0U);
}

TEST_F(ServiceTest, ReloadsWhatAProgramOfThisMachineAsksFor) {
  std::string allowed;
  EXPECT_EQ(service->find("POST", "/admin/reload", allowed), nullptr);
  bool breaks = false;
  Reloader reloader({{"keys", [] { return Result<void>(); }},
                     {"tiny", [&] {
                        if (breaks) return Result<void>(Error{ErrorCode::BadModel, "broken"});
                        return models->reload(0);
                      }}});
  service->set_reloader(reloader);
  const ModelPointer before = models->first();
  std::weak_ptr<const Model> old = before;
  EXPECT_EQ(gate("GET", "/admin/reload", ""), 405U);
  is_local = false;
  EXPECT_EQ(gate("POST", "/admin/reload", ""), 403U);
  EXPECT_EQ(gate("POST", "/embed", ""), 0U);
  is_local = true;
  for (const std::string name : {"Origin", "Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"}) {
    EXPECT_EQ(gate("POST", "/admin/reload", name + ": a\r\n"), 403U) << name;
  }
  Passage passage;
  EXPECT_EQ(gate("POST", "/admin/reload", "", &passage), 0U);
  EXPECT_EQ(passage.timeout, options.limits.reload_max);
  keys = Keys::parse("0123456789abcdef").value();
  EXPECT_EQ(gate("POST", "/admin/reload", ""), 401U);

  breaks = true;
  const Reply failed = post("/admin/reload", "{}");
  EXPECT_EQ(failed.status, 500U);
  EXPECT_EQ(failed.body, R"({"reloaded":["keys"],"failed":[{"name":"tiny","error":"broken"}]})");
  EXPECT_EQ(models->first(), before);
}

TEST_F(ServiceTest, AReloadWaitsForTheOldModelsLastRequest) {
  ModelPointer held = models->first();
  std::weak_ptr<const Model> old = held;
  auto reloaded = std::async(std::launch::async, [this] { return models->reload(0).has_value(); });
  while (models->first() == held) std::this_thread::yield();
  EXPECT_EQ(post("/embed", R"({"inputs":"w5"})").status, 200U);  // on the new one
  EXPECT_EQ(reloaded.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  EXPECT_TRUE(held->engine.embed("w5"));
  held.reset();
  EXPECT_TRUE(reloaded.get());
  EXPECT_TRUE(old.expired());
  // The other model is as it was, and a broken one is not taken.
  const ModelPointer second = models->all()[1];
  std::filesystem::remove(folder_ / "model/tokenizer.json");
  EXPECT_FALSE(models->reload(1));
  EXPECT_EQ(models->all()[1], second);
}

TEST(Golden, VectorsOfTheSameFilesAreTheSame) {
  const Golden before{"files", {0.5F, 0.5F}};
  EXPECT_TRUE(compare(before, before));
  EXPECT_TRUE(compare(before, {"files", {0.5F, 0.5F + 9e-7F}}));
  EXPECT_FALSE(compare(before, {"files", {0.5F, 0.5F + 1.2e-6F}}));
  EXPECT_FALSE(compare(before, {"files", {0.5F}}));
  EXPECT_TRUE(compare(before, {"other files", {0.1F}}));
  EXPECT_TRUE(compare({"", {0.5F}}, {"", {0.1F}}));
}

TEST_F(ServiceTest, FilesAreToldApart) {
  const std::string model = (folder_ / "model").string();
  const std::string before = describe_files(model);
  EXPECT_NE(before, "");
  EXPECT_EQ(describe_files(model), before);
  EXPECT_EQ(describe_files((folder_ / "none").string()), "");
  // Of the same size, in one rename, as a careful person replaces a file.
  std::filesystem::copy_file(folder_ / "model/config.json", folder_ / "config");
  std::filesystem::rename(folder_ / "config", folder_ / "model/config.json");
  EXPECT_NE(describe_files(model), before);
}

TEST_F(ServiceTest, TakesAsManyModelsAsTheLimitSays) {
  const std::string model = (folder_ / "model").string();
  LoadOptions load;
  load.cache_folder = folder_ / "cache";
  load.threads = 1;
  const auto error = [&](const std::vector<Source>& sources) {
    const auto loaded = Models::load(sources, load, options);
    return loaded ? std::string() : loaded.error().message;
  };
  std::vector<Source> sources;
  for (std::size_t i = 0; i < Models::kModelsMax - 1; ++i) {
    sources.push_back({model, "m" + std::to_string(i)});
  }
  EXPECT_EQ(error(sources), "");
  sources.push_back({model, "last"});
  EXPECT_EQ(error(sources), "");
  sources.push_back({model, "more"});
  EXPECT_EQ(error(sources), "17 models; a server takes 1 to 16");
  EXPECT_EQ(error({}), "0 models; a server takes 1 to 16");
  EXPECT_EQ(error({{model, std::string(Models::kNameBytesMax - 1, 'a')}}), "");
  EXPECT_EQ(error({{model, std::string(Models::kNameBytesMax, 'a')}}), "");
  EXPECT_EQ(error({{model, std::string(Models::kNameBytesMax + 1, 'a')}}),
            "the model's name has 257 bytes; it takes 1 to 256");
  EXPECT_EQ(error({{model, "a"}, {model, "a"}}),
            "two models are called a; --model NAME=MODEL gives one a name");
  EXPECT_NE(error({{model, "a"}, {"no such", "b"}}).find("no such: "), std::string::npos);
}

TEST_F(ServiceTest, TheGateKnowsRoutes) {
  Passage passage;
  EXPECT_EQ(gate("POST", "/v1/embeddings?x=y", "", &passage), 0U);
  EXPECT_EQ(passage.route->path, "/v1/embeddings");
  EXPECT_EQ(gate("HEAD", "/livez", ""), 0U);
  for (const std::string target :
       {"//v1/embeddings", "/v1//embeddings", "/v1/../embed", "/%761/embeddings", "/V1/embeddings",
        "/v1/embeddings/", "/embed/", "/embed%00", "*", "/v1/embeddings;a"}) {
    EXPECT_EQ(gate("POST", target, ""), 404U) << target;
  }
  EXPECT_EQ(gate("GET", "/embed", ""), 405U);
  EXPECT_EQ(field(*reply, "allow"), "POST");
  EXPECT_EQ(gate("DELETE", "/", ""), 405U);
  EXPECT_EQ(field(*reply, "allow"), "GET, POST");
  EXPECT_EQ(gate("TRACE", "/livez", ""), 405U);
}

TEST_F(ServiceTest, ThePageMayBeLeftOut) {
  for (const PageFile& file : page_files()) EXPECT_EQ(get(file.path).body, file.body);
  std::string allowed;
  const Route* route = service->find("GET", "/", allowed);
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(service->answer_now(*route, {"/", 1, "*"}).status, 304U);

  Service other(*models, options.limits, 1, false);
  route = other.find("GET", "/", allowed);
  ASSERT_NE(route, nullptr);
  EXPECT_EQ(route->action, Action::Ready);
  for (const PageFile& file : page_files()) {
    EXPECT_EQ(other.find("GET", file.path, allowed) == nullptr, file.path != "/") << file.path;
  }
  EXPECT_EQ(other.find("PUT", "/", allowed), nullptr);
  EXPECT_EQ(allowed, "GET, POST");
}

TEST_F(ServiceTest, TheGateAsksForAKeyBeforeItTalks) {
  keys = Keys::parse("0123456789abcdef").value();
  const std::string key = "Authorization: Bearer 0123456789abcdef\r\n";
  for (const std::string target : {"/embed", "/metrics", "/info", "/nowhere", "//livez", "/livez/",
                                   "/v1/../livez", "/%6civez", "http://a/embed"}) {
    EXPECT_EQ(gate("GET", target, ""), 401U) << target;
    EXPECT_NE(gate("GET", target, key), 401U) << target;
  }
  EXPECT_EQ(gate("POST", "/livez", ""), 401U);
  for (const std::string target : {"/livez", "/readyz", "/health", "/ping", "/"}) {
    EXPECT_EQ(gate("GET", target, ""), 0U) << target;
  }
  EXPECT_EQ(gate("POST", "/embed", "Authorization: Bearer 0123456789abcde\r\n"), 401U);
  EXPECT_EQ(field(*reply, "www-authenticate"), "Bearer");
  EXPECT_EQ(gate("POST", "/embed", key + key), 400U);
}

TEST_F(ServiceTest, TheGateTakesJsonOnly) {
  const auto type = [this](const std::string& value) {
    return gate("POST", "/embed", "Content-Length: 2\r\nContent-Type: " + value + "\r\n");
  };
  EXPECT_EQ(gate("POST", "/embed", "Content-Length: 2\r\n"), 0U);
  EXPECT_EQ(type("application/json"), 0U);
  EXPECT_EQ(type("Application/JSON; Charset=\"UTF-8\""), 0U);
  for (const std::string wrong : {"text/plain", "application/json; charset=latin1", "", "json",
                                  "application/x-www-form-urlencoded", "application/jsonx"}) {
    EXPECT_EQ(type(wrong), 415U) << wrong;
  }
  EXPECT_EQ(type("application/json\r\nContent-Type: application/json"), 415U);
  EXPECT_EQ(type("application/json\r\nContent-Encoding: gzip"), 415U);
  EXPECT_EQ(type("application/json\r\nContent-Encoding: identity"), 0U);
}

TEST_F(ServiceTest, TheGateReadsTimeouts) {
  Passage passage;
  const auto timeout = [&](const std::string& value) {
    return gate("POST", "/embed", "X-Request-Timeout-Ms: " + value + "\r\n", &passage);
  };
  EXPECT_EQ(timeout("250"), 0U);
  EXPECT_EQ(passage.timeout, std::chrono::milliseconds(250));
  EXPECT_EQ(timeout("4294967295"), 0U);
  EXPECT_EQ(passage.timeout, options.limits.request_max);
  for (const std::string wrong : {"0", "-1", "1.5", "", "a", "4294967296", "1, 2"}) {
    EXPECT_EQ(timeout(wrong), 400U) << wrong;
  }
}

TEST_F(ServiceTest, TheGateKnowsOrigins) {
  options.cors_origins = {"https://a.example"};
  const std::string ask = "Access-Control-Request-Method: POST\r\n";
  Passage passage;
  EXPECT_EQ(gate("OPTIONS", "/embed", "Origin: https://a.example\r\n" + ask, &passage), 204U);
  EXPECT_EQ(passage.origin, "https://a.example");
  Passage other;
  EXPECT_EQ(gate("OPTIONS", "/embed", "Origin: https://b.example\r\n" + ask, &other), 405U);
  EXPECT_EQ(other.origin, "");
  EXPECT_EQ(gate("POST", "/embed", "Origin: https://a.example.evil\r\n", &other), 0U);
  EXPECT_EQ(other.origin, "");
}

TEST(RequestId, IsTheClientsWhereItIsHarmless) {
  const auto id = [](const std::string& value) {
    Head head;
    head.fields = {{"x-request-id", value}};
    return request_id(head);
  };
  EXPECT_EQ(id("a-B_1.2"), "a-B_1.2");
  EXPECT_EQ(id(std::string(64, 'a')), std::string(64, 'a'));
  EXPECT_EQ(id(std::string(65, 'a')).size(), 16U);
  EXPECT_NE(id("a b"), "a b");
  EXPECT_NE(id(""), "");
  EXPECT_NE(id(""), id(""));
}

}  // namespace
}  // namespace textvec::server
