/* The scenario of tests/interop/README.md in C++, on libferry.hpp. */
#include <libferry.hpp>

#include <cmath>
#include <cstdio>

namespace {

struct Drift {
    ferry::Fields<> fields;
    ferry::Observation<ferry::Box<float>> position = fields.observation(ferry::Box<float>("position", {2}).bounds(-10, 10));
    ferry::Observation<ferry::Discrete<>> ticks = fields.observation(ferry::Discrete("ticks", 101));
    ferry::Action<ferry::Discrete<>> move = fields.action(ferry::Discrete("move", 3).start(-1));
    ferry::Action<ferry::Box<float>> push = fields.action(ferry::Box<float>("push", {2}).bounds(-1, 1));
    ferry::Info<ferry::Scalar<double>> energy = fields.info(ferry::Scalar<double>("energy").bounds(0, INFINITY));
    float x = 0, y = 0;
    int64_t tick = 0;

    const char *reset(ferry::EnvRow row) {
        const int64_t seed = row.seed();
        if (row.options().size() > 2) return "drift takes no options"; /* more than {} */
        x = seed < 0 ? 0 : static_cast<float>(seed % 7 - 3), y = seed < 0 ? 0 : static_cast<float>(seed % 5 - 2), tick = 0;
        row.info(ferry::json("{\"language\": \"cpp\"}"));
        observe(row);
        return nullptr;
    }
    void step(ferry::EnvRow row) {
        x += 0.5f * static_cast<float>(row[move]) + row[push][0], y += row[push][1], tick++;
        row.terminated(std::fabs(x) > 8 || std::fabs(y) > 8).truncated(tick == 100);
        row.reward(-(static_cast<double>(std::fabs(x)) + static_cast<double>(std::fabs(y))));
        observe(row);
    }
    void observe(ferry::EnvRow row) const {
        row[position][0] = x, row[position][1] = y;
        row[ticks] = tick;
        row[energy] = static_cast<double>(x) * x + static_cast<double>(y) * y;
    }
};

} // namespace

int main() {
    Drift drift;
    auto env = ferry::Env::open(ferry::EnvDesc(nullptr, drift.fields));
    if (!env) return std::fprintf(stderr, "drift: %s\n", env.why().text), 1;
    while (env->play(drift)) continue;
    return std::fprintf(stderr, "drift: %s\n", env->why().text), 1;
}
