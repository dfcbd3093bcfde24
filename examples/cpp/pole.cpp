/* CartPole-v1 in C++: examples/c/pole.c with libferry.hpp, and equal to it, step for step and row for row.
 *
 *     c++ -std=c++17 -Iinclude examples/cpp/pole.cpp build/libferry.a -o pole && ./pole [ADDRESS [ROWS]]
 *
 * Double arithmetic in Gymnasium's order, observations in single precision. */
#include <libferry.hpp>

#include <array>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

namespace {

constexpr double x_limit = 2.4, theta_limit = 12 * 2 * 3.141592653589793 / 360;
constexpr float high[] = {float(x_limit * 2), INFINITY, float(theta_limit * 2), INFINITY};
constexpr float low[] = {-high[0], -INFINITY, -high[2], -INFINITY};

volatile std::sig_atomic_t stopped;

struct Pole {
    std::array<double, 4> state; /* x, x_dot, theta, theta_dot */
    uint64_t rng;
    int steps;
    bool fallen;

    double uniform() { /* splitmix64, in [0, 1) */
        uint64_t z = rng += 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return double((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
    }

    /* Starts where the options say, else where chance wills; false if they are malformed. */
    bool start(std::string_view options) {
        char text[256] = "";
        int end = 0;
        steps = 0, fallen = false;
        for (double &s : state) s = -0.05 + 0.1 * uniform();
        if (options.empty()) return true;
        if (options.size() >= sizeof text) return false;
        options.copy(text, options.size());
        std::sscanf(text, " { } %n", &end);
        if (end == 0) std::sscanf(text, " { \"state\" : [ %lf , %lf , %lf , %lf ] } %n", &state[0], &state[1], &state[2], &state[3], &end);
        return end > 0 && size_t(end) == options.size() && std::isfinite(state[0] + state[1] + state[2] + state[3]);
    }

    /* One Euler step of 20 ms; true when the pole has fallen or the cart has left the track. */
    bool advance(double force) {
        constexpr double gravity = 9.8, pole_mass = 0.1, total_mass = 0.1 + 1.0, half_length = 0.5, moment = 0.1 * 0.5, tau = 0.02;
        auto &[x, x_dot, theta, theta_dot] = state;
        const double cosine = std::cos(theta), sine = std::sin(theta);
        const double push = (force + moment * (theta_dot * theta_dot) * sine) / total_mass;
        const double spin = (gravity * sine - cosine * push) / (half_length * (4.0 / 3.0 - pole_mass * (cosine * cosine) / total_mass));
        const double shift = push - moment * spin * cosine / total_mass;
        x += tau * x_dot, x_dot += tau * shift, theta += tau * theta_dot, theta_dot += tau * spin;
        return x < -x_limit || x > x_limit || theta < -theta_limit || theta > theta_limit;
    }
};

struct Poles {
    ferry::Fields<> fields;
    ferry::Observation<ferry::Box<float>> observation = fields.observation(ferry::Box<float>("", {4}).bounds(low, high));
    ferry::Action<ferry::Discrete<>> push = fields.action(ferry::Discrete("", 2));
    std::vector<Pole> poles;

    const char *reset(ferry::EnvRow row) {
        Pole &pole = poles[row.index()];
        if (row.seed() >= 0) pole.rng = uint64_t(row.seed());
        if (!pole.start(row.options())) return "the options must be {} or {\"state\": [x, x_dot, theta, theta_dot]}, four finite numbers";
        observe(row);
        return nullptr;
    }
    void step(ferry::EnvRow row) {
        Pole &pole = poles[row.index()];
        const bool down = pole.advance(row[push] != 0 ? 10.0 : -10.0);
        row.terminated(down).truncated(++pole.steps >= 500).reward(!(down && pole.fallen)); /* the fall itself still earns 1 */
        pole.fallen |= down;
        observe(row);
    }
    void observe(ferry::EnvRow row) const {
        for (size_t i = 0; i < 4; i++) row[observation][i] = float(poles[row.index()].state[i]);
    }
};

} // namespace

int main(int argc, char **argv) {
    const long rows = argc > 2 ? std::strtol(argv[2], nullptr, 10) : 1;
    if (rows < 1 || rows > FERRY_MAX_ROWS) return std::fprintf(stderr, "usage: pole [ADDRESS [ROWS]], 1 to %d rows\n", FERRY_MAX_ROWS), 2;
    Poles game;
    const uint64_t chance = uint64_t(std::time(nullptr)) ^ uint64_t(reinterpret_cast<uintptr_t>(&game)) << 16; /* unlike other poles' */
    for (long i = 0; i < rows; i++) game.poles.push_back({{}, chance + (uint64_t(i) << 40), 0, false});
    auto env = ferry::Env::open(ferry::EnvDesc(argc > 1 ? argv[1] : "pole", game.fields)
                                    .rows(uint32_t(rows))
                                    .about(ferry::json("{\"metadata\": {\"render_modes\": [], \"render_fps\": 50}}")));
    if (!env) return std::fprintf(stderr, "pole: %s\n", env.why().text), 1;
    std::signal(SIGINT, [](int) { stopped = 1; }), std::signal(SIGTERM, [](int) { stopped = 1; });
    ferry::Error error;
    while (!stopped && !error) error = env->play(game, 100 * ferry::millisecond).error(); /* 100 ms, so that a signal is heeded */
    if (!error || error.code() == FERRY_ECLOSED) return 0; /* an inherited connection ends with its agent */
    return std::fprintf(stderr, "pole: %s\n", env->why().text), 1;
}
