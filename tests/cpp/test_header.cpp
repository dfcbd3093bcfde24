/* libferry.hpp: what is written on one side is read on the other, by the types that both were described with; what does not fit is refused
 * in words. Without exceptions, run-time types, or a C++ library to link. */
#include <libferry.hpp>

#include "../c/check.h"

#include <array>

namespace {

using namespace ferry;

/* ---- One of each space, there and back ---- */

const int64_t FIRST[] = {0, 10}, LAST[] = {2, 13};

/* Answers each action with the same in the observation of the same name. */
struct Echo {
    Fields<24> fields;
    Action<Box<float>> push = fields.action(Box<float>("push", {2, 3}).bounds(-1, 1));
    Action<Box<bool>> lamps = fields.action(Box<bool>("lamps", {4}));
    Action<Discrete<>> gear = fields.action(Discrete("gear", 6).start(-1));
    Action<MultiDiscrete<>> dials = fields.action(MultiDiscrete("dials", {2}).bounds(FIRST, LAST));
    Action<MultiBinary> keys = fields.action(MultiBinary("keys", {3}));
    Action<Text> say = fields.action(Text("say", 16));
    Action<Sequence<Box<int16_t>>> points = fields.action(Sequence(Box<int16_t>("points", {2}), 3));
    Action<Scalar<Half>> half = fields.action(Scalar<Half>("half"));

    Observation<Box<float>> pushed = fields.observation(Box<float>("push", {2, 3}));
    Observation<Box<bool>> lit = fields.observation(Box<bool>("lamps", {4}));
    Observation<Discrete<>> geared = fields.observation(Discrete("gear", 6).start(-1));
    Observation<MultiDiscrete<>> dialled = fields.observation(MultiDiscrete("dials", {2}).bounds(FIRST, LAST));
    Observation<MultiBinary> pressed = fields.observation(MultiBinary("keys", {3}));
    Observation<Text> said = fields.observation(Text("say", 16));
    Observation<Sequence<Box<int16_t>>> drawn = fields.observation(Sequence(Box<int16_t>("points", {2}), 3));
    Observation<Scalar<Half>> halved = fields.observation(Scalar<Half>("half"));
    Info<Scalar<double>> energy = fields.info(Scalar<double>("energy").bounds(0, 100));

    const char *reset(EnvRow row) {
        row[pushed].copy(std::array<float, 6>{});
        row[lit].copy(std::array<uint8_t, 4>{});
        row[geared] = -1;
        row[dialled].copy(FIRST);
        row[pressed].copy(std::array<int8_t, 3>{});
        CHECK(row[said].assign(row.options()) || row.options().size() > 16);
        row[drawn].resize(0);
        row[halved] = Half{0x3C00};
        if (row.seed() == 13) return "13 is no seed";
        if (row.seed() >= 0) row[energy] = static_cast<double>(row.seed());
        CHECK(!row.info(json("{\"reset\": true}")));
        return nullptr;
    }
    void step(EnvRow row) {
        CHECK(row[pushed].copy(row[push]) && !row[pushed].copy(Span<const float>(row[push].data(), 5)));
        CHECK(row[lit].copy(row[lamps]) && row[dialled].copy(row[dials]) && row[pressed].copy(row[keys]));
        row[geared] = row[gear];
        CHECK(row[said].assign(row[say].text()));
        CHECK(row[drawn].assign(row[points].elements()));
        row[halved] = row[half];
        row.reward(static_cast<double>(row[gear])).terminated(row[gear] == 4).truncated(row[gear] == 3);
        if (row[gear] > 0) row[energy] = static_cast<double>(row.episode());
    }
    const char *call(EnvTurn turn) {
        if (turn.options() == "{\"op\":\"render\"}") return "nothing to see";
        turn.info(json("42"));
        return nullptr;
    }
    void left(EnvTurn turn) {
        CHECK(turn.reason().code() == FERRY_ECLOSED && turn.kind() == Kind::left && turn.size() == 0);
        over = true;
    }
    bool over = false;
};

int serve_echo(void *) {
    Echo echo;
    auto env = Env::open(EnvDesc("echo", echo.fields).name("an echo").takes_calls().about(json("{\"metadata\": {}}")));
    if (!env) return fprintf(stderr, "%s\n", env.why().text), 1;
    while (!echo.over && env->play(echo, 10 * second)) continue;
    return echo.over ? 0 : 1;
}

template <class T> const T &must(const Result<T> &result) {
    if (!result) {
        fprintf(stderr, "%s\n", result.why().text);
        exit(1);
    }
    return *result;
}

Agent meet(const char *address, Autoreset autoreset = Autoreset::disabled) {
    auto agent = Agent::open(AgentDesc(address).autoreset(autoreset));
    CHECK(agent && agent->connect(10 * second));
    return std::move(*agent);
}

Answer answered(Agent &agent) {
    const Answer answer = agent.wait(10 * second);
    if (!answer) fprintf(stderr, "%s\n", agent.why().text);
    CHECK(answer);
    return answer;
}

void test_every_space_goes_there_and_back() {
    const pid_t server = start_child(serve_echo, nullptr);
    Agent agent = meet("echo");
    CHECK(std::string_view(agent.env()->name) == "an echo");
    const auto push = must(agent.action<Box<float>>("push"));
    const auto lamps = must(agent.action<Box<bool>>("lamps"));
    const auto gear = must(agent.action<Discrete<>>("gear"));
    const auto dials = must(agent.action<MultiDiscrete<>>("dials"));
    const auto keys = must(agent.action<MultiBinary>("keys"));
    const auto say = must(agent.action<Text>("say"));
    const auto points = must(agent.action<Sequence<Box<int16_t>>>("points"));
    const auto half = must(agent.action<Scalar<Half>>("half"));
    const auto energy = must(agent.info<Scalar<double>>("energy"));
    CHECK(push.count == 6 && points.count == 2 && points.capacity == 3);

    CHECK(!agent.request().blob(json("{\"a\": 1}")).reset(5));
    Answer answer = answered(agent);
    CHECK(answer.well() && answer.has(energy) && answer[energy] == 5 && answer.episode() == 1);
    CHECK(bytes(answer.blob()) == "{\"reset\": true}");
    CHECK(answer[must(agent.observation<Text>("say"))].text() == "{\"a\": 1}");
    CHECK(answer[must(agent.observation<Scalar<Half>>("half"))].bits == 0x3C00);

    Request request = agent.request();
    for (size_t i = 0; i < request[push].size(); i++) request[push][i] = static_cast<float>(i) / 8;
    const uint8_t on[] = {1, 0, 0, 1};
    CHECK(request[lamps].copy(on));
    request[gear] = 3;
    request[dials][0] = 2, request[dials][1] = 11;
    request[keys][0] = 1, request[keys][1] = 0, request[keys][2] = 1;
    CHECK(request[say].assign(std::string_view("h\xC3\xA9!")) && !request[say].assign(std::string_view("much longer than there is room")));
    const int16_t drawn[] = {-1, 1, -2, 2};
    CHECK(request[points].assign(drawn) && !request[points].assign(Span<const int16_t>(drawn, 3)) && !request[points].resize(4));
    request[half].bits = 0x4000;
    CHECK(!request.step());
    CHECK(agent.request().step().code() == FERRY_ESTATE); /* an answer is owed */
    answer = answered(agent);
    CHECK(answer.reward() == 3 && answer.truncated() && !answer.terminated() && answer.number() == 2);
    CHECK(answer.has(energy) && answer[energy] == 1);
    CHECK(answer[must(agent.observation<Box<float>>("push"))][5] == 0.625f);
    CHECK(answer[must(agent.observation<Box<bool>>("lamps"))][3] == 1);
    CHECK(answer[must(agent.observation<Discrete<>>("gear"))] == 3);
    CHECK(answer[must(agent.observation<MultiDiscrete<>>("dials"))][1] == 11);
    CHECK(answer[must(agent.observation<MultiBinary>("keys"))][2] == 1);
    CHECK(answer[must(agent.observation<Text>("say"))].text() == "h\xC3\xA9!");
    const auto back = answer[must(agent.observation<Sequence<Box<int16_t>>>("points"))];
    CHECK(back.size() == 2 && back.elements().size() == 4 && back.elements()[3] == 2 && !back.in_blob());
    CHECK(answer[must(agent.observation<Scalar<Half>>("half"))].bits == 0x4000);

    request = agent.request();
    request[gear] = 0;
    CHECK(!request.step() && !answered(agent).has(energy));
    request = agent.request();
    request[gear] = 5; /* beyond the last */
    CHECK(!request.step() && !answered(agent).well());
    agent.close();
    CHECK(!agent && end_child(server) == 0);
}

void test_what_fails_says_so() {
    const pid_t server = start_child(serve_echo, nullptr);
    Agent agent = meet("echo");
    CHECK(!agent.request().reset(13));
    Answer answer = answered(agent);
    CHECK(!answer.well() && answer.blob().format == FERRY_TEXT && bytes(answer.blob()) == "13 is no seed");
    CHECK(!agent.request().reset(12) && answered(agent).well());
    CHECK(!agent.request().call(json("{\"op\":\"get\"}")));
    CHECK(bytes(answered(agent).blob()) == "42");
    CHECK(!agent.request().call(json("{\"op\":\"render\"}")));
    answer = answered(agent);
    CHECK(!answer.well() && bytes(answer.blob()) == "nothing to see");
    agent.close();
    CHECK(end_child(server) == 0);
}

void test_a_field_of_another_type_is_refused() {
    CHECK_CONTAINS(Agent::open(AgentDesc("echo"))->observation<Box<float>>("push").why().text, "no environment has been met");
    const pid_t server = start_child(serve_echo, nullptr);
    {
        const Agent agent = meet("echo");
        const auto wide = agent.action<Box<double>>("push");
        CHECK(!wide && wide.why().code == FERRY_EINVAL);
        CHECK_CONTAINS(wide.why().text, "the action 'push' of the environment is a Box of float32, which is not what");
        CHECK_CONTAINS(agent.action<Box<int64_t>>("gear").why().text, "is a Discrete of int64, without dimensions");
        CHECK_CONTAINS(agent.action<Box<int16_t>>("points").why().text, "is a list of Box of int16");
        CHECK_CONTAINS(agent.action<Scalar<>>("push").why().text, "is a Box of float32,");
        CHECK_CONTAINS(agent.action<Box<uint8_t>>("lamps").why().text, "is a Box of bool");
        CHECK_CONTAINS(agent.observation<Discrete<>>("energy").why().text, "the environment has no observation 'energy'");
        CHECK(!agent.action<Sequence<Box<float>>>("push") && !agent.action<Text>("push") && !agent.action<Discrete<int32_t>>("gear"));
    }
    CHECK(end_child(server) == 0);
}

void test_a_description_that_cannot_be_is_refused() {
    const double low[] = {0, 1, 2};
    Fields fields;
    fields.observation(Box<double>("a", {2}).bounds(low, low));
    CHECK_CONTAINS(Env::open(EnvDesc("bad", fields)).why().text, "as many as there are elements");
    Fields<1> few;
    few.observation(Box<float>("a", {1}));
    few.action(Discrete("b", 2));
    CHECK_CONTAINS(Env::open(EnvDesc("bad", few)).why().text, "more fields than there is room for");
    Fields deep;
    deep.observation(Box<float>("a", {1, 1, 1, 1, 1, 1, 1, 1, 1}));
    CHECK_CONTAINS(Env::open(EnvDesc("bad", deep)).why().text, "FERRY_MAX_NDIM");
    Fields twice;
    twice.observation(Box<float>("a", {1}));
    twice.observation(Box<float>("a", {1}));
    const auto refused = Env::open(EnvDesc("bad", twice));
    CHECK(!refused && refused.why().code == FERRY_ESPEC && refused.why().text[0] != '\0');
    for (uint32_t capacity : {0u, 1u}) {
        Fields texts, sequences;
        texts.observation(Text("a", capacity));
        texts.action(Discrete("", 2));
        sequences.observation(Sequence(Box<uint8_t>("a", {1}), capacity));
        sequences.action(Discrete("", 2));
        const auto text = Env::open(EnvDesc("text", texts)), sequence = Env::open(EnvDesc("sequence", sequences));
        CHECK(static_cast<bool>(text) == (capacity == 1) && static_cast<bool>(sequence) == (capacity == 1));
        if (capacity == 1) continue;
        CHECK_CONTAINS(text.why().text, "the capacity of a Sequence or a Text is at least 1");
        CHECK_CONTAINS(sequence.why().text, "the capacity of a Sequence or a Text is at least 1");
    }
    Fields still;
    still.observation(Box<float>("a", {2}).bounds(0, 0));
    still.action(Discrete("", 2));
    CHECK_CONTAINS(Env::open(EnvDesc("still", still)).why().text, "bounds of 0 and 0 stand for none");
    const float zeros[] = {0, 0};
    Fields each;
    each.observation(Box<float>("a", {2}).bounds(zeros, zeros));
    each.observation(Scalar<float>("b").bounds(0, 1));
    each.action(Discrete("", 2));
    CHECK(Env::open(EnvDesc("each", each)));
    Fields good;
    good.observation(Box<float>("a", {1}));
    good.action(Discrete("", 2));
    CHECK_CONTAINS(Env::open(EnvDesc("no such place!", good)).why().text, "no such place!");
}

/* ---- Games that give their env away while they play ---- */

enum class Gives { closes, opens_anew, moves };

struct Giver {
    explicit Giver(Gives what) : gives(what) {}
    const char *give() {
        if (gives == Gives::closes || gives == Gives::opens_anew) env.close();
        if (gives == Gives::opens_anew) open();
        if (gives == Gives::moves) other = std::move(env);
        return nullptr;
    }
    void open() {
        auto opened = Env::open(EnvDesc("giver", fields).rows(2).takes_calls());
        CHECK(opened);
        env = std::move(*opened);
    }
    void reset(EnvRow row) { row[count] = 0; }
    const char *step(EnvRow row) {
        row[count] = ++steps;
        return row[move] == 1 ? give() : nullptr;
    }
    const char *call(EnvTurn) { return give(); }

    Fields<> fields;
    Observation<Scalar<int32_t>> count = fields.observation(Scalar<int32_t>("count"));
    Action<Discrete<>> move = fields.action(Discrete("", 2));
    Gives gives;
    Env env, other;
    int32_t steps = 0;
};

int serve_giver(void *argument) {
    Giver giver(*static_cast<Gives *>(argument));
    giver.open();
    Progress progress = giver.env.play(giver, 10 * second);
    CHECK(progress); /* the reset */
    progress = giver.env.play(giver, 10 * second);
    CHECK(!progress && progress.error().code() == FERRY_ESTATE && giver.steps <= 1);
    if (giver.gives != Gives::moves) return 0;
    CHECK(!giver.env && ferry_env_fail(giver.other.get(), "moved") == 0); /* the turn is its new owner's to answer */
    return giver.other.wait(10 * second).kind() == Kind::left ? 0 : 1;
}

void test_a_game_may_close_or_move_the_env_that_it_plays_in() {
    for (Gives gives : {Gives::closes, Gives::opens_anew, Gives::moves})
        for (bool calls : {false, true}) {
            const pid_t server = start_child(serve_giver, &gives);
            Agent agent = meet("giver");
            CHECK(!agent.request().reset() && answered(agent).well());
            Request request = agent.request();
            for (RequestRow row : request) row[must(agent.action<Discrete<>>(""))] = 1;
            CHECK(!(calls ? request.call(json("1")) : request.step()));
            const Answer answer = agent.wait(10 * second);
            if (gives == Gives::moves) CHECK(answer && bytes(answer.blob()) == "moved");
            else CHECK(!answer && answer.error().code() == FERRY_ECLOSED);
            agent.close();
            CHECK(end_child(server) == 0);
        }
}

/* ---- Many rows ---- */

enum { ROWS = 5 };

struct Counters {
    Fields<> fields;
    Observation<Scalar<int32_t>> count = fields.observation(Scalar<int32_t>("count"));
    Action<Discrete<>> by = fields.action(Discrete("", 10));
    Info<Scalar<int32_t>> ended = fields.info(Scalar<int32_t>("ended"));
    int32_t counts[ROWS] = {};

    void reset(EnvRow row) { row[count] = counts[row.index()] = static_cast<int32_t>(row.seed()); }
    void step(EnvRow row) {
        int32_t &mine = counts[row.index()];
        row[count] = mine += static_cast<int32_t>(row[by]);
        row.terminated(mine >= 100).reward(mine);
        if (mine >= 100) row[ended] = mine;
    }
};

int serve_counters(void *) {
    Counters counters;
    auto env = Env::open(EnvDesc("counters", counters.fields).rows(ROWS));
    if (!env) return fprintf(stderr, "%s\n", env.why().text), 1;
    for (;;) {
        EnvTurn turn = env->wait(10 * second);
        if (!turn) return turn.error().code();
        if (turn.kind() == Kind::left) return 0;
        for (EnvRow row : turn) turn.kind() == Kind::reset ? counters.reset(row) : counters.step(row);
        CHECK(!turn.reply() && turn.reply().code() == FERRY_ESTATE);
    }
}

void test_rows_are_stepped_and_reset_each_for_itself() {
    const pid_t server = start_child(serve_counters, nullptr);
    Agent agent = meet("counters", Autoreset::same_step);
    const auto count = must(agent.observation<Scalar<int32_t>>("count"));
    const auto by = must(agent.action<Discrete<>>(""));
    const auto ended = must(agent.info<Scalar<int32_t>>("ended"));
    CHECK(!agent.request().reset(90));
    for (AnswerRow row : answered(agent)) CHECK(row[count] == 90 + static_cast<int32_t>(row.index()));

    Request request = agent.request();
    for (RequestRow row : request) row[by] = 7;
    CHECK(!request.step());
    Answer answer = answered(agent);
    uint32_t seen = 0;
    for (AnswerRow row : answer) {
        const int32_t reached = 97 + static_cast<int32_t>(row.index());
        CHECK(row.index() == seen++ && row.reward() == reached && row.terminated() == (reached >= 100));
        if (row.terminated()) CHECK(row.last(count) == reached && row.had(ended) && row.last(ended) == reached && row[count] == -1);
        else CHECK(row[count] == reached);
    }
    CHECK(seen == ROWS && answer.size() == ROWS);

    const uint32_t some[] = {1, 3};
    request = agent.request().only(some);
    CHECK(request.size() == 2 && request.index() == 1);
    for (RequestRow row : request) row[by] = 1;
    CHECK(!request.step());
    answer = answered(agent);
    CHECK(answer.size() == 2 && answer[count] == 99 && answer.row(3)[count] == 0 && answer.row(0)[count] == 97);
    agent.close();
    CHECK(end_child(server) == 0);
}

/* ---- Handles ---- */

void test_handles_are_moved_and_close_themselves() {
    Fields fields;
    fields.observation(Box<float>("", {1}));
    fields.action(Discrete("", 2));
    auto env = Env::open(EnvDesc("moved", fields));
    CHECK(env && *env);
    Env other = std::move(*env);
    CHECK(other && !*env);
    Env &same = other;
    other = std::move(same);
    CHECK(other);
    const EnvTurn turn = other.wait(0);
    CHECK(!turn && !turn.error() && turn.kind() == Kind::none);
    CHECK_CONTAINS(other.why().text, "moved");
    CHECK(Env::open(EnvDesc("moved", fields)).why().code == FERRY_EINUSE);
    other = Env();
    CHECK(Env::open(EnvDesc("moved", fields))); /* and gone again at once */
    CHECK(Env::open(EnvDesc("moved", fields)));
    Env().close();
    static_assert(!std::is_copy_constructible_v<Env> && !std::is_copy_assignable_v<Agent> && sizeof(Bell) == sizeof(void *));
}

void test_a_closed_handle_says_that_it_is_closed() {
    Fields fields;
    fields.observation(Box<float>("", {1}));
    fields.action(Discrete("", 2));
    auto opened = Env::open(EnvDesc("closed", fields));
    CHECK(opened);
    Env env = std::move(*opened); /* what is moved from is as if it were closed */
    env.close();
    for (Env *gone : {&env, &*opened}) {
        const EnvTurn turn = gone->wait(0);
        CHECK(!turn && turn.error().code() == FERRY_ESTATE && turn.size() == 0 && !(turn.begin() != turn.end()));
        CHECK(turn.reply().code() == FERRY_ESTATE && turn.fail("").code() == FERRY_ESTATE && turn.info(json("{}")).code() == FERRY_ESTATE);
        CHECK(gone->why().code == 0 && gone->why().text[0] == '\0');
    }
    auto met = Agent::open(AgentDesc("closed"));
    CHECK(met);
    Agent agent = std::move(*met);
    agent.close();
    for (Agent *gone : {&agent, &*met}) {
        CHECK(gone->connect(0).error().code() == FERRY_ESTATE && gone->env() == nullptr && !gone->hold());
        CHECK(!gone->observation<Box<float>>(""));
        Request request = gone->request();
        for (RequestRow row : request) CHECK(row.index() == ROWS); /* there is none */
        CHECK(!request && request.size() == 0 && request.reset(7).code() == FERRY_ESTATE);
        const Answer answer = gone->wait(0);
        CHECK(!answer && answer.error().code() == FERRY_ESTATE && answer.size() == 0);
        CHECK(gone->why().code == 0 && gone->why().text[0] == '\0');
    }
}

void test_waits_tell_not_yet_from_never() {
    auto agent = Agent::open(AgentDesc("serve:nobody"));
    CHECK(agent);
    const Progress progress = agent->connect(millisecond);
    CHECK(!progress && !progress.error());
    CHECK(!agent->request() && agent->request().reset(1).code() == FERRY_ESTATE);
    const Answer answer = agent->wait(0);
    CHECK(!answer && answer.error().code() == FERRY_ESTATE);
    CHECK_CONTAINS(answer.error().text(), "not possible now");
    CHECK(agent->env() == nullptr && !agent->hold());
}

void test_a_bell_tells_who_is_ready() {
    const pid_t servers[] = {start_child(serve_counters, nullptr), start_child(serve_echo, nullptr)};
    auto bell = Bell::open();
    CHECK(bell);
    {
        auto first = Agent::open(AgentDesc("counters").bell(*bell)), second_one = Agent::open(AgentDesc("echo").bell(*bell));
        CHECK(first && second_one && first->connect(10 * second) && second_one->connect(10 * second));
        CHECK(!first->request().reset(1) && !second_one->request().reset(1));
        ferry_agent *const agents[] = {first->get(), second_one->get()};
        uint8_t ready[2] = {};
        CHECK(bell->wait(agents, 2, 10 * second, ready) == 2 && ready[0] == 1 && ready[1] == 1);
        CHECK(bell->wait(agents, 1, 0, Span<uint8_t>(ready, 1)) == FERRY_EINVAL);
        const int32_t &held = answered(*first)[must(first->observation<Scalar<int32_t>>("count"))];
        const Hold hold = first->hold();
        first->close();
        CHECK(hold && held == 1); /* mapped still */
        CHECK(answered(*second_one).well());
    }
    CHECK(end_child(servers[0]) == 0 && end_child(servers[1]) == 0);
}

} // namespace

int main() {
    char directory[64];
    begin_test(60, directory);
    test_every_space_goes_there_and_back();
    test_what_fails_says_so();
    test_a_field_of_another_type_is_refused();
    test_a_description_that_cannot_be_is_refused();
    test_rows_are_stepped_and_reset_each_for_itself();
    test_a_game_may_close_or_move_the_env_that_it_plays_in();
    test_handles_are_moved_and_close_themselves();
    test_a_closed_handle_says_that_it_is_closed();
    test_waits_tell_not_yet_from_never();
    test_a_bell_tells_who_is_ready();
    end_test(directory);
    return 0;
}
