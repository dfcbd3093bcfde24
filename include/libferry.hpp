/* libferry for C++17: handles that close themselves, and fields that know their types.
 *
 * A thin layer over libferry.h, which says what the calls do, what they guarantee, and what to be careful of; this header only says it
 * in C++. It throws nothing, needs no run-time types and no C++ library to link, and allocates nothing: -fno-exceptions and -fno-rtti are
 * welcome. It defines no macro but its guard. A number that was described as float is a float wherever it is used, or the program
 * does not compile; an agent, which learns its fields at run time, is refused a field of another type once, when it asks for it.
 *
 * A complete environment (c++ -std=c++17 -Iinclude walk.cpp build/libferry.a -o walk):
 *
 *     #include <libferry.hpp>
 *     #include <cstdio>
 *
 *     struct Walk {
 *         ferry::Fields<> fields;
 *         ferry::Observation<ferry::Box<float>> position = fields.observation(ferry::Box<float>("", {1}).bounds(-10, 10));
 *         ferry::Action<ferry::Discrete<>> move = fields.action(ferry::Discrete("", 3).start(-1));
 *         float x = 0;
 *
 *         void reset(ferry::EnvRow row) {
 *             x = 0;
 *             row[position][0] = x; // written in place, into shared memory
 *         }
 *         void step(ferry::EnvRow row) {
 *             x += static_cast<float>(row[move]);
 *             row[position][0] = x;
 *             row.reward(x >= 10).terminated(x >= 10 || x <= -10);
 *         }
 *     };
 *
 *     int main() {
 *         Walk walk;
 *         auto env = ferry::Env::open(ferry::EnvDesc("walk", walk.fields));
 *         if (!env) return std::fprintf(stderr, "%s\n", env.why().text), 1;
 *         while (env->play(walk)) continue; // agents come and go
 *         return std::fprintf(stderr, "%s\n", env->why().text), 1;
 *     }
 *
 * and a complete agent (with #include <libferry.hpp>, and main around it):
 *
 *     auto agent = ferry::Agent::open(ferry::AgentDesc("walk"));
 *     if (!agent || !agent->connect(10 * ferry::second)) return 1;
 *     auto position = agent->observation<ferry::Box<float>>("");
 *     auto move = agent->action<ferry::Discrete<>>("");
 *     if (!position || !move) return 1;
 *     agent->request().reset(7);
 *     for (auto answer = agent->wait(ferry::second); answer && !answer.terminated(); answer = agent->wait(ferry::second)) {
 *         auto request = agent->request();
 *         request[*move] = answer[*position][0] < 0 ? -1 : 1;
 *         request.step();
 *     }
 */
#ifndef LIBFERRY_HPP
#define LIBFERRY_HPP

#include "libferry.h"

#include <cstring>
#include <initializer_list>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ferry {

/* ---- Time ---------------------------------------------------------------------------------------------------------------------- */

/* Time-outs are nanoseconds: 100 * ferry::millisecond. 0 looks and returns. */
inline constexpr int64_t forever = FERRY_FOREVER, second = 1000000000, millisecond = 1000000, microsecond = 1000;

/* ---- Errors -------------------------------------------------------------------------------------------------------------------- */

/* What went wrong, in full: code and text. */
using Why = ferry_why;

/* A code of libferry.h, true if something failed: if (ferry::Error error = turn.reply()) ... */
class Error {
public:
    constexpr Error() = default;
    constexpr explicit Error(int code) : code_(code < 0 ? code : 0) {}
    constexpr explicit operator bool() const { return code_ != 0; }
    constexpr int code() const { return code_; }
    /* A static sentence; why() of the handle knows more. */
    const char *text() const { return ferry_strerror(code_); }

private:
    int code_ = 0;
};

/* What a wait has come to: true when what was waited for is there. If not, error() says whether it failed, or is merely not there yet. */
class [[nodiscard]] Progress {
public:
    constexpr explicit Progress(int got) : got_(got) {}
    constexpr explicit operator bool() const { return got_ > 0; }
    constexpr Error error() const { return Error(got_); }

private:
    int got_;
};

/* A value, or why there is none. */
template <class T> class [[nodiscard]] Result {
public:
    Result(T &&value) : value_(std::move(value)) {}
    Result(const Why &why) : why_(why) {}
    explicit operator bool() const { return why_.code == 0; }
    T &operator*() { return value_; }
    const T &operator*() const { return value_; }
    T *operator->() { return &value_; }
    const T *operator->() const { return &value_; }
    const Why &why() const { return why_; }

private:
    T value_{};
    Why why_{};
};

/* ---- Spans --------------------------------------------------------------------------------------------------------------------- */

/* Elements that lie side by side, in somebody else's memory. Like std::span, which C++17 lacks; an index is not checked. */
template <class T> class Span {
public:
    constexpr Span() = default;
    constexpr Span(T *data, size_t size) : data_(data), size_(size) {}
    template <size_t size> constexpr Span(T (&array)[size]) : data_(array), size_(size) {}
    /* Whatever has data() and size() of the right type: std::array, std::vector, another span. */
    template <class Container, class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<Container &>().data()), T *> &&
                                                        sizeof(*std::declval<Container &>().data()) == sizeof(T)>>
    constexpr Span(Container &&container) : data_(container.data()), size_(container.size()) {}

    constexpr T *data() const { return data_; }
    constexpr size_t size() const { return size_; }
    constexpr bool empty() const { return size_ == 0; }
    constexpr T *begin() const { return data_; }
    constexpr T *end() const { return data_ + size_; }
    constexpr T &operator[](size_t i) const { return data_[i]; }

    /* Copies as many elements as there are; false, and nothing is copied, if there are more or fewer. */
    bool copy(Span<const T> from) const {
        if (from.size() != size_) return false;
        if (size_ > 0) std::memcpy(data_, from.data(), size_ * sizeof(T));
        return true;
    }

private:
    T *data_ = nullptr;
    size_t size_ = 0;
};

/* The elements of a field with a capacity: of a Sequence or a Text. Items may have several elements each. */
template <class T> class List {
public:
    List(void *at, size_t item, uint32_t capacity) : head_(static_cast<ferry_list *>(at)), item_(item), capacity_(capacity) {
        const uint32_t count = head_->count;
        in_blob_ = count == FERRY_IN_BLOB;
        size_ = in_blob_ ? 0 : count < capacity ? count : capacity; /* the peer wrote it */
    }
    /* In items. */
    uint32_t size() const { return size_; }
    uint32_t capacity() const { return capacity_; }
    /* There are more than the capacity, and they travel in the turn's blob: MessagePack, of the format FERRY_VALUES. */
    bool in_blob() const { return in_blob_; }
    Span<T> elements() const { return Span<T>(static_cast<T *>(static_cast<void *>(const_cast<ferry_list *>(head_ + 1))), size_ * item_); }
    /* For lists of char. */
    std::string_view text() const { return std::string_view(elements().data(), size_); }
    /* Makes it so many items, whose elements are yet to be set; false, and nothing changes, if there is no room. */
    bool resize(size_t size) {
        static_assert(!std::is_const_v<T>, "this list is the peer's");
        if (size > capacity_) return false;
        size_ = head_->count = static_cast<uint32_t>(size), in_blob_ = false;
        return true;
    }
    /* Makes it these elements, whole items of them. */
    bool assign(Span<const T> from) { return from.size() % item_ == 0 && resize(from.size() / item_) && elements().copy(from); }

private:
    ferry_list *head_;
    size_t item_;
    uint32_t capacity_, size_;
    bool in_blob_;
};

/* ---- Spaces -------------------------------------------------------------------------------------------------------------------- */

/* Half precision, for which C++17 has no type: its bits. */
struct Half {
    uint16_t bits;
};

namespace detail {

/* How the values of a field are shown: as a reference, a Span or a List. */
enum class Form { scalar, array, list };

template <class T> constexpr ferry_dtype dtype() {
    if constexpr (std::is_same_v<T, bool>) return FERRY_BOOL;
    else if constexpr (std::is_same_v<T, Half>) return FERRY_F16;
    else if constexpr (std::is_integral_v<T>) {
        constexpr ferry_dtype with_sign[] = {FERRY_I8, FERRY_I16, FERRY_I32, FERRY_I64};
        constexpr ferry_dtype without[] = {FERRY_U8, FERRY_U16, FERRY_U32, FERRY_U64};
        constexpr int size = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
        return std::is_signed_v<T> ? with_sign[size] : without[size];
    } else {
        static_assert(std::is_floating_point_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "a field has no such elements");
        return sizeof(T) == 4 ? FERRY_F32 : FERRY_F64;
    }
}

/* A bool of the peer's may be neither true nor false: its elements are bytes. */
template <class T> using Element = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;

/* What all spaces have: the field that they describe. Paths, and arrays of bounds, are not copied before the environment is opened. */
template <class Self, class T, Form form_, ferry_space kind_> class Space {
public:
    using Element = detail::Element<T>;
    static constexpr Form form = form_;
    static constexpr ferry_space kind = kind_;

    /* Bounds of every element, inclusive. Of a Box, 0 and 0 would be none, and are refused when the environment is opened. */
    Self &bounds(double low, double high) {
        field_.low = low, field_.high = high;
        if (kind == FERRY_BOX && low == 0 && high == 0) fault_ = "bounds of 0 and 0 stand for none: give them for each element";
        return self();
    }
    /* Bounds of each element, as many as there are. */
    Self &bounds(Span<const Element> low, Span<const Element> high) {
        field_.low_each = low.data(), field_.high_each = high.data();
        if (low.size() != count() || high.size() != count()) fault_ = "bounds of each element are as many as there are elements";
        return self();
    }
    const ferry_field &field() const { return field_; }
    /* What cannot be said in the field; NULL: all is well. */
    const char *fault() const { return fault_; }
    uint32_t count() const { return count(field_); }

    static uint32_t count(const ferry_field &field) {
        uint64_t count = 1;
        for (uint32_t i = 0; i < field.ndim && i < FERRY_MAX_NDIM; i++)
            count = field.shape[i] != 0 && count > UINT32_MAX / field.shape[i] ? UINT32_MAX : count * field.shape[i];
        return static_cast<uint32_t>(count);
    }
    /* Is this what the environment says of a field? */
    static bool matches(const ferry_field &field) {
        return field.kind == kind && field.dtype == dtype<T>() && (field.capacity != 0) == (form == Form::list) &&
               (form != Form::scalar || field.ndim == 0);
    }

protected:
    Space(const char *path, std::initializer_list<uint32_t> shape) {
        field_.path = path, field_.kind = kind, field_.dtype = dtype<T>();
        if (shape.size() > FERRY_MAX_NDIM) fault_ = "a field has at most FERRY_MAX_NDIM dimensions";
        for (uint32_t size : shape)
            if (field_.ndim < FERRY_MAX_NDIM) field_.shape[field_.ndim++] = size;
    }
    /* Without one, it would be no list, and have no room for the count that a List writes. */
    void make_list(uint32_t capacity) {
        field_.capacity = capacity;
        if (capacity == 0) fault_ = "the capacity of a Sequence or a Text is at least 1";
    }
    Self &self() { return static_cast<Self &>(*this); }
    ferry_field field_{};
    const char *fault_ = nullptr;
};

} // namespace detail

/* Numbers of one type in an array; without bounds they take any value. path is the place in the space: libferry.h, ferry_field. */
template <class T = float> class Box : public detail::Space<Box<T>, T, detail::Form::array, FERRY_BOX> {
public:
    Box(const char *path, std::initializer_list<uint32_t> shape) : Box::Space(path, shape) {}
};

/* One number: a Box without dimensions. */
template <class T = float> class Scalar : public detail::Space<Scalar<T>, T, detail::Form::scalar, FERRY_BOX> {
public:
    explicit Scalar(const char *path) : Scalar::Space(path, {}) {}
};

/* One of n values: 0 to n - 1, or from start on. */
template <class T = int64_t> class Discrete : public detail::Space<Discrete<T>, T, detail::Form::scalar, FERRY_DISCRETE> {
public:
    Discrete(const char *path, int64_t n) : Discrete::Space(path, {}) { this->field_.n = n; }
    Discrete &start(int64_t start) {
        this->field_.start = start;
        return *this;
    }
};

/* Integers with bounds, inclusive: bounds(0, 4), or for each of them, start and start + nvec - 1. */
template <class T = int64_t> class MultiDiscrete : public detail::Space<MultiDiscrete<T>, T, detail::Form::array, FERRY_MULTI_DISCRETE> {
public:
    MultiDiscrete(const char *path, std::initializer_list<uint32_t> shape) : MultiDiscrete::Space(path, shape) {}
};

/* Zeros and ones. */
class MultiBinary : public detail::Space<MultiBinary, int8_t, detail::Form::array, FERRY_MULTI_BINARY> {
public:
    MultiBinary(const char *path, std::initializer_list<uint32_t> shape) : Space(path, shape) {}
};

/* UTF-8, with room for so many bytes. */
class Text : public detail::Space<Text, char, detail::Form::list, FERRY_STRING> {
public:
    Text(const char *path, uint32_t capacity) : Space(path, {}) {
        field_.dtype = FERRY_DEFAULT;
        make_list(capacity);
    }
    static bool matches(const ferry_field &field) { return field.kind == kind && field.capacity != 0; }
};

/* A list of up to so many items of an inner space, whose path is the list's: Sequence(Box<float>("points", {2}), 16). */
template <class Inner> class Sequence : public detail::Space<Sequence<Inner>, typename Inner::Element, detail::Form::list, Inner::kind> {
public:
    static_assert(Inner::form != detail::Form::list, "a field has one capacity: the items of a Sequence are no lists");
    Sequence(const Inner &inner, uint32_t capacity) : Sequence::Space(nullptr, {}) {
        this->field_ = inner.field(), this->fault_ = inner.fault();
        this->make_list(capacity);
    }
    static bool matches(ferry_field field) {
        const bool is_list = field.capacity != 0;
        field.capacity = 0;
        return is_list && Inner::matches(field);
    }
};

/* ---- Fields -------------------------------------------------------------------------------------------------------------------- */

/* What a field is called in a program: its number, with its type and role for the compiler. row[key] is a reference to the number of a
 * Scalar or Discrete, a Span of what has a shape, a List of what has a capacity; constant where it is the peer's. */
template <class Space, ferry_role role> struct Key {
    uint32_t field = 0, count = 0, capacity = 0;
};
template <class Space> using Observation = Key<Space, FERRY_OBSERVATION>;
template <class Space> using Action = Key<Space, FERRY_ACTION>;
template <class Space> using Info = Key<Space, FERRY_INFO>;

/* The fields of an environment, in their order. It must live until the environment is opened, no longer. */
template <uint32_t room = 16> class Fields {
public:
    template <class Space> Observation<Space> observation(const Space &space) { return add<Space, FERRY_OBSERVATION>(space); }
    template <class Space> Action<Space> action(const Space &space) { return add<Space, FERRY_ACTION>(space); }
    template <class Space> Info<Space> info(const Space &space) { return add<Space, FERRY_INFO>(space); }
    /* A field in C, for what has no class here: an empty Dict, values that travel in blobs. Returns its number. */
    uint32_t add(const ferry_field &field) {
        if (size_ == room) fault_ = "there are more fields than there is room for: ferry::Fields<ROOM>";
        else fields_[size_++] = field;
        return size_ - 1;
    }
    const ferry_field *data() const { return fields_; }
    uint32_t size() const { return size_; }
    /* What was wrong in a description; NULL: nothing was. */
    const char *fault() const { return fault_; }

private:
    template <class Space, ferry_role role> Key<Space, role> add(const Space &space) {
        ferry_field field = space.field();
        field.role = role;
        if (space.fault() != nullptr) fault_ = space.fault();
        return {add(field), space.count(), field.capacity};
    }
    ferry_field fields_[room]{};
    uint32_t size_ = 0;
    const char *fault_ = nullptr;
};

/* ---- Blobs --------------------------------------------------------------------------------------------------------------------- */

inline ferry_blob blob(std::string_view bytes, ferry_format format) {
    return {bytes.data(), bytes.size(), static_cast<uint32_t>(format), 0};
}
inline ferry_blob json(std::string_view text) { return blob(text, FERRY_JSON); }
inline ferry_blob msgpack(std::string_view bytes) { return blob(bytes, FERRY_MSGPACK); }
inline std::string_view bytes(const ferry_blob &blob) {
    return {static_cast<const char *>(blob.data), static_cast<size_t>(blob.size_bytes)};
}

/* ---- Rows and turns ------------------------------------------------------------------------------------------------------------ */

enum class Kind : uint32_t { none = 0, step = FERRY_STEP, reset = FERRY_RESET, left = FERRY_LEFT, call = FERRY_CALL };

namespace detail {

/* A row's values of a field: E is the space's element, or its constant. */
template <class E, class Space, ferry_role role>
decltype(auto) view(void *const *data, const ferry_turn &turn, Key<Space, role> key, uint32_t row) {
    void *at = static_cast<char *>(data[key.field]) + static_cast<size_t>(turn.stride[key.field]) * row;
    if constexpr (Space::form == Form::scalar) return *static_cast<E *>(at);
    else if constexpr (Space::form == Form::array) return Span<E>(static_cast<E *>(at), key.count);
    else return List<E>(at, key.count, key.capacity);
}

/* The rows of a turn, one after the other. */
template <class Row> class RowIterator {
public:
    RowIterator(const Row &row, const uint32_t *at) : row_(row), at_(at) {}
    Row operator*() const { return row_.at(*at_); }
    RowIterator &operator++() {
        ++at_;
        return *this;
    }
    bool operator!=(const RowIterator &other) const { return at_ != other.at_; }

private:
    Row row_;
    const uint32_t *at_;
};

/* Its first row, and all that it is about: for (auto row : turn). Row has the turn, or none. */
template <class Row> class Turn : public Row {
public:
    /* Is there one? */
    explicit operator bool() const { return this->turn_ != nullptr; }
    /* Where there is none: has something failed, or is it merely not there yet? */
    Error error() const { return error_; }
    /* Counts the channel's turns, from 1. */
    uint64_t number() const { return this->turn_->number; }
    /* How many rows it is about; 0 if there is none. */
    uint32_t size() const { return this->turn_ != nullptr ? this->turn_->num_rows : 0; }
    RowIterator<Row> begin() const { return {*this, rows()}; }
    RowIterator<Row> end() const { return {*this, rows() + size()}; }
    /* A row by its number in the environment. */
    Row row(uint32_t number) const { return this->at(number); }

protected:
    Turn(const Row &row, Error error) : Row(row), error_(error) {}

private:
    const uint32_t *rows() const { return this->turn_ != nullptr ? this->turn_->rows : nullptr; }
    Error error_;
};

/* The first row that a turn is about. */
inline uint32_t first_row(const ferry_turn *turn) { return turn != nullptr && turn->num_rows > 0 ? turn->rows[0] : 0; }

} // namespace detail

/* One row of a turn, on the environment's side. */
class EnvRow {
public:
    EnvRow(ferry_env *env, const ferry_turn *turn, uint32_t row) : env_(env), turn_(turn), row_(row) {}
    EnvRow at(uint32_t row) const { return {env_, turn_, row}; }

    /* Its number in the environment. */
    uint32_t index() const { return row_; }
    /* The action: a private copy, checked where libferry.h says so. */
    template <class Space> decltype(auto) operator[](Action<Space> key) const {
        return detail::view<const typename Space::Element>(turn_->data, *turn_, key, row_);
    }
    /* The observation, to be written in place. It holds what lay there two turns ago: write all of it. */
    template <class Space> decltype(auto) operator[](Observation<Space> key) const {
        return detail::view<typename Space::Element>(turn_->data, *turn_, key, row_);
    }
    /* The info, to be written in place. To ask for it is to give it. */
    template <class Space> decltype(auto) operator[](Info<Space> key) const {
        turn_->present[key.field][row_] = 1;
        return detail::view<typename Space::Element>(turn_->data, *turn_, key, row_);
    }
    /* RESET: the seed, or -1 for none. */
    int64_t seed() const { return turn_->seed[row_]; }
    /* RESETs so far. */
    uint64_t episode() const { return turn_->episode[row_]; }
    /* What came with the turn, the same for all rows: the options of a RESET, the request of a CALL; empty if there are none. */
    std::string_view options() const { return bytes(turn_->blob); }

    const EnvRow &reward(double reward) const {
        turn_->reward[row_] = reward;
        return *this;
    }
    const EnvRow &terminated(bool terminated) const {
        turn_->terminated[row_] = terminated;
        return *this;
    }
    const EnvRow &truncated(bool truncated) const {
        turn_->truncated[row_] = truncated;
        return *this;
    }
    /* Sets the blob of the whole answer: an info, of an env with more than one row a map from row numbers; what a call returns. */
    Error info(const ferry_blob &blob) const { return Error(env_ != nullptr ? ferry_env_blob(env_, &blob) : FERRY_ESTATE); }

protected:
    ferry_env *env_;
    const ferry_turn *turn_;
    uint32_t row_;
};

/* What the agent asks for, or that it has left. It stays until it is answered, or LEFT comes instead. */
class EnvTurn : public detail::Turn<EnvRow> {
public:
    explicit EnvTurn(ferry_env *env = nullptr, const ferry_turn *turn = nullptr, Error error = Error())
        : Turn(EnvRow(env, turn, detail::first_row(turn)), error) {}
    Kind kind() const { return turn_ != nullptr ? static_cast<Kind>(turn_->kind) : Kind::none; }
    /* Publishes the answer. Never waits. */
    Error reply() const { return Error(env_ != nullptr ? ferry_env_reply(env_) : FERRY_ESTATE); }
    /* Answers with a failure instead: text, in UTF-8. The agent must reset next. */
    Error fail(const char *text) const { return Error(env_ != nullptr ? ferry_env_fail(env_, text) : FERRY_ESTATE); }
    /* LEFT: how the agent went. */
    Error reason() const { return Error(turn_->reason); }
    uint32_t peer_pid() const { return turn_->peer_pid; }
    const ferry_turn *get() const { return turn_; }
};

/* One row of what the environment has answered. */
class AnswerRow {
public:
    AnswerRow(const ferry_turn *turn, uint32_t row) : turn_(turn), row_(row) {}
    AnswerRow at(uint32_t row) const { return {turn_, row}; }

    uint32_t index() const { return row_; }
    template <class Space> decltype(auto) operator[](Observation<Space> key) const {
        return detail::view<const typename Space::Element>(turn_->data, *turn_, key, row_);
    }
    /* Means nothing unless has(key). */
    template <class Space> decltype(auto) operator[](Info<Space> key) const {
        return detail::view<const typename Space::Element>(turn_->data, *turn_, key, row_);
    }
    template <class Space> bool has(Info<Space> key) const { return turn_->present[key.field][row_] != 0; }
    /* The last observation of the episode that ended, with Autoreset::same_step. */
    template <class Space> decltype(auto) last(Observation<Space> key) const {
        return detail::view<const typename Space::Element>(turn_->final_data, *turn_, key, row_);
    }
    template <class Space> decltype(auto) last(Info<Space> key) const {
        return detail::view<const typename Space::Element>(turn_->final_data, *turn_, key, row_);
    }
    template <class Space> bool had(Info<Space> key) const { return turn_->final_present[key.field][row_] != 0; }
    double reward() const { return turn_->reward[row_]; }
    bool terminated() const { return turn_->terminated[row_] != 0; }
    bool truncated() const { return turn_->truncated[row_] != 0; }
    uint64_t episode() const { return turn_->episode[row_]; }
    /* False: the environment has failed, or the action was refused. The blob says why. */
    bool well() const { return turn_->status[row_] == FERRY_ROW_OK; }

protected:
    const ferry_turn *turn_;
    uint32_t row_;
};

/* The answer to the last request. Observations stay right through the next turn, all else until the next request is sent. */
class Answer : public detail::Turn<AnswerRow> {
public:
    explicit Answer(const ferry_turn *turn = nullptr, Error error = Error()) : Turn(AnswerRow(turn, detail::first_row(turn)), error) {}
    /* The info; what a call returned; or what went wrong. Beside a reset that the library made, step_blob is the STEP's. */
    const ferry_blob &blob() const { return turn_->blob; }
    const ferry_blob &step_blob() const { return turn_->step_blob; }
    const ferry_turn *get() const { return turn_; }
};

/* One row of a request. */
class RequestRow {
public:
    RequestRow(ferry_turn *turn, uint32_t row) : turn_(turn), row_(row) {}
    RequestRow at(uint32_t row) const { return {turn_, row}; }

    uint32_t index() const { return row_; }
    /* The action, to be written in place. What was written last is still there. */
    template <class Space> decltype(auto) operator[](Action<Space> key) const {
        return detail::view<typename Space::Element>(turn_->data, *turn_, key, row_);
    }
    const RequestRow &seed(int64_t seed) const {
        turn_->seed[row_] = seed;
        return *this;
    }

protected:
    ferry_turn *turn_;
    uint32_t row_;
};

/* The turn to fill, if one can be sent now; it ends with step, reset or call, which hand it to the environment and never wait. */
class Request : public detail::Turn<RequestRow> {
public:
    Request(ferry_agent *agent, ferry_turn *turn) : Turn(RequestRow(turn, detail::first_row(turn)), Error()), agent_(agent) {}
    Error step() { return send(FERRY_STEP); }
    Error reset() { return send(FERRY_RESET); }
    /* Seeds each row with seed and its number, as Gymnasium does. */
    Error reset(int64_t seed) {
        if (turn_ != nullptr)
            for (RequestRow row : *this) row.seed(seed + row.index());
        return reset();
    }
    Error call(const ferry_blob &request) {
        blob(request);
        return send(FERRY_CALL);
    }
    /* The options of a reset. What it points to must stay until the turn is sent. */
    Request &blob(const ferry_blob &blob) {
        if (turn_ != nullptr) turn_->blob = blob;
        return *this;
    }
    /* Is about these rows alone, in ascending order. What it points to must stay until the turn is sent. */
    Request &only(Span<const uint32_t> rows) {
        if (turn_ != nullptr) {
            turn_->rows = rows.data(), turn_->num_rows = static_cast<uint32_t>(rows.size());
            row_ = detail::first_row(turn_);
        }
        return *this;
    }
    ferry_turn *get() const { return turn_; }

private:
    Error send(ferry_kind kind) {
        if (turn_ == nullptr) return Error(FERRY_ESTATE);
        turn_->kind = kind;
        return Error(ferry_agent_send(agent_));
    }
    ferry_agent *agent_;
};

/* ---- Handles ------------------------------------------------------------------------------------------------------------------- */

namespace detail {

/* Owns what end takes; moved, never copied. Of one that is closed, or moved from, calls fail with FERRY_ESTATE, or give nothing. */
template <class T, void (*end)(T *)> class Handle {
public:
    Handle() = default;
    explicit Handle(T *handle) : handle_(handle) {}
    Handle(Handle &&other) noexcept : handle_(other.release()) {}
    Handle &operator=(Handle &&other) noexcept {
        if (this != &other) close(), handle_ = other.release();
        return *this;
    }
    ~Handle() { close(); }
    explicit operator bool() const { return handle_ != nullptr; }
    /* For the calls of libferry.h. */
    T *get() const { return handle_; }
    /* Gives it up: who takes it closes it. */
    T *release() { return std::exchange(handle_, nullptr); }
    void close() { end(release()); }

private:
    T *handle_ = nullptr;
};

inline Why why(int code, std::initializer_list<std::string_view> parts) {
    Why why{};
    size_t at = 0;
    why.code = code;
    for (std::string_view part : parts) {
        const size_t left = sizeof why.text - 1 - at, size = part.size() < left ? part.size() : left;
        std::memcpy(why.text + at, part.data(), size);
        at += size;
    }
    return why;
}

constexpr std::string_view name_of_kind(uint32_t kind) {
    constexpr std::string_view names[] = {"Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict", "Tuple", "Text", "other space"};
    return kind < sizeof names / sizeof *names ? names[kind] : "unknown space";
}

constexpr std::string_view name_of_dtype(uint32_t dtype) {
    constexpr std::string_view names[] = {"usual elements", "bool",  "int8",   "uint8",   "int16",   "uint16", "int32",
                                          "uint32",         "int64", "uint64", "float16", "float32", "float64"};
    return dtype < sizeof names / sizeof *names ? names[dtype] : "unknown elements";
}

template <class Game, class = void> struct hears_left : std::false_type {};
template <class Game>
struct hears_left<Game, std::void_t<decltype(std::declval<Game &>().left(std::declval<EnvTurn>()))>> : std::true_type {};
template <class Game, class = void> struct takes_calls : std::false_type {};
template <class Game>
struct takes_calls<Game, std::void_t<decltype(std::declval<Game &>().call(std::declval<EnvTurn>()))>> : std::true_type {};

/* What a game's function returns: nothing, or why it failed. */
template <class Function> const char *outcome(Function &&function) {
    if constexpr (std::is_void_v<decltype(function())>) return function(), nullptr;
    else return function();
}

} // namespace detail

/* ---- The environment's side ---------------------------------------------------------------------------------------------------- */

/* What an environment says of itself: ferry_env_desc, a sentence at a time. Texts and fields must live until it is opened. */
class EnvDesc {
public:
    /* address: libferry.h, ferry_env_desc. nullptr: FERRY_ADDRESS alone says where. */
    template <uint32_t room> EnvDesc(const char *address, const Fields<room> &fields) : fault_(fields.fault()) {
        desc_.struct_size = sizeof desc_, desc_.address = address, desc_.fields = fields.data(), desc_.num_fields = fields.size();
    }
    EnvDesc &name(const char *name) { return desc_.name = name, *this; }
    EnvDesc &rows(uint32_t rows) { return desc_.num_rows = rows, *this; }
    EnvDesc &rows_tick_together() { return desc_.rows_tick_together = 1, *this; }
    EnvDesc &about(const ferry_blob &about) { return desc_.about = about, *this; }
    EnvDesc &max_episode_steps(uint32_t steps) { return desc_.max_episode_steps = steps, *this; }
    /* The options of a RESET, and calls, arrive in this format. */
    EnvDesc &options_as(ferry_format format) { return desc_.blob_format = static_cast<uint32_t>(format), *this; }
    EnvDesc &takes_calls() { return desc_.takes_calls = 1, *this; }
    EnvDesc &log(ferry_log log, void *user) { return desc_.log = log, desc_.log_user = user, *this; }
    EnvDesc &max_bytes(uint64_t bytes) { return desc_.max_bytes = bytes, *this; }
    EnvDesc &blob_bytes(uint64_t bytes) { return desc_.blob_bytes = bytes, *this; }
    const ferry_env_desc &get() const { return desc_; }
    const char *fault() const { return fault_; }

private:
    ferry_env_desc desc_{};
    const char *fault_;
};

class Env : public detail::Handle<ferry_env, ferry_env_close> {
public:
    using Handle::Handle;
    /* Checks the description and, where the role is to serve, takes the address. Does not wait for anybody. */
    static Result<Env> open(const EnvDesc &desc) {
        ferry_env *env;
        Why why;
        if (desc.fault() != nullptr) return detail::why(FERRY_EINVAL, {desc.fault()});
        if (ferry_env_open(&desc.get(), &env, &why) < 0) return why;
        return Env(env);
    }

    /* Waits for the agent's next turn. Tick-driven programs wait(0) until they get none. */
    EnvTurn wait(int64_t timeout_ns = forever) {
        const ferry_turn *turn;
        const int got = get() != nullptr ? ferry_env_wait(get(), timeout_ns, &turn) : FERRY_ESTATE;
        return EnvTurn(get(), got > 0 ? turn : nullptr, Error(got));
    }

    /* Waits for the agent's next turn, lets the game play it, and answers. The game has reset(EnvRow) and step(EnvRow), called for each row
     * of the turn, which return nothing, or a const char *: nullptr for all is well, or why the turn fails. It may have left(EnvTurn),
     * and, with takes_calls, call(EnvTurn), which gives its answer to info. A turn that it leaves by an exception fails. It may close this
     * handle, or move it away: then play neither goes on nor answers, and returns FERRY_ESTATE. */
    template <class Game> Progress play(Game &game, int64_t timeout_ns = forever) {
        const EnvTurn turn = wait(timeout_ns);
        if (!turn) return Progress(turn.error().code());
        if (turn.kind() == Kind::left) {
            if constexpr (detail::hears_left<Game>::value) game.left(turn);
            return Progress(1);
        }
        Playing playing(*this, turn);
        const char *failure = nullptr;
        if (turn.kind() == Kind::call) failure = call(game, turn);
        else
            for (auto rows = turn.begin(); failure == nullptr && playing.goes_on() && rows != turn.end(); ++rows)
                failure = turn.kind() == Kind::step ? detail::outcome([&] { return game.step(*rows); })
                                                    : detail::outcome([&] { return game.reset(*rows); });
        const Error error = playing.end(failure);
        return Progress(error ? error.code() : 1);
    }

    /* What is known about its state, in words. */
    Why why() const {
        Why why{};
        if (get() != nullptr) ferry_env_why(get(), &why);
        return why;
    }

private:
    /* A turn while the game plays it. */
    class Playing {
    public:
        Playing(const Env &env, const EnvTurn &turn) : env_(env), turn_(turn), handle_(env.get()), number_(turn.number()) {}
        Playing(const Playing &) = delete;
        Playing &operator=(const Playing &) = delete;
        /* Only an exception comes here without an end. */
        ~Playing() {
            if (!ended_) end("the environment has thrown an exception");
        }
        /* Is it still this handle's? One that was opened anew may lie where the closed one lay; it has met nobody, and has no such number. */
        bool goes_on() const { return env_.get() == handle_ && turn_.number() == number_; }
        Error end(const char *failure) {
            ended_ = true;
            if (!goes_on()) return Error(FERRY_ESTATE);
            return failure != nullptr ? turn_.fail(failure) : turn_.reply();
        }

    private:
        const Env &env_;
        const EnvTurn &turn_;
        ferry_env *const handle_;
        const uint64_t number_;
        bool ended_ = false;
    };

    template <class Game> static const char *call(Game &game, const EnvTurn &turn) {
        if constexpr (detail::takes_calls<Game>::value) return detail::outcome([&] { return game.call(turn); });
        else return static_cast<void>(game), static_cast<void>(turn), "this environment takes no calls";
    }
};

/* ---- The agent's side ---------------------------------------------------------------------------------------------------------- */

enum class Autoreset : uint32_t {
    disabled = FERRY_AUTORESET_DISABLED,
    next_step = FERRY_AUTORESET_NEXT_STEP,
    same_step = FERRY_AUTORESET_SAME_STEP
};

/* Keeps a region mapped, for views of observations that outlive their agent. */
using Hold = detail::Handle<ferry_hold, ferry_release>;

class Bell : public detail::Handle<ferry_bell, ferry_bell_close> {
public:
    using Handle::Handle;
    static Result<Bell> open() {
        ferry_bell *bell;
        Why why;
        if (ferry_bell_open(&bell, &why) < 0) return why;
        return Bell(bell);
    }
    /* Waits until at_least of the agents (their get()) have something to tell; ready, as long as agents, says which. How many; below 0 a
     * ferry_err. */
    int wait(Span<ferry_agent *const> agents, uint32_t at_least, int64_t timeout_ns, Span<uint8_t> ready) {
        if (agents.size() != ready.size()) return FERRY_EINVAL;
        return ferry_agent_wait_any(get(), agents.data(), static_cast<uint32_t>(agents.size()), at_least, timeout_ns, ready.data());
    }
};

class AgentDesc {
public:
    /* nullptr: FERRY_ADDRESS says where. */
    explicit AgentDesc(const char *address) { desc_.struct_size = sizeof desc_, desc_.address = address; }
    AgentDesc &autoreset(Autoreset mode) { return desc_.autoreset = static_cast<uint32_t>(mode), *this; }
    AgentDesc &max_bytes(uint64_t bytes) { return desc_.max_bytes = bytes, *this; }
    AgentDesc &log(ferry_log log, void *user) { return desc_.log = log, desc_.log_user = user, *this; }
    /* It must outlive the agent. */
    AgentDesc &bell(const Bell &bell) { return desc_.bell = bell.get(), *this; }
    AgentDesc &beside(const detail::Handle<ferry_agent, ferry_agent_close> &agent) { return desc_.beside = agent.get(), *this; }
    const ferry_agent_desc &get() const { return desc_; }

private:
    ferry_agent_desc desc_{};
};

class Agent : public detail::Handle<ferry_agent, ferry_agent_close> {
public:
    using Handle::Handle;
    static Result<Agent> open(const AgentDesc &desc) {
        ferry_agent *agent;
        Why why;
        if (ferry_agent_open(&desc.get(), &agent, &why) < 0) return why;
        return Agent(agent);
    }

    /* Connects, or waits to be connected to. Call it again after the environment has gone, and look the fields up anew. */
    Progress connect(int64_t timeout_ns = forever) {
        return Progress(get() != nullptr ? ferry_agent_connect(get(), timeout_ns) : FERRY_ESTATE);
    }
    /* What the environment says of itself; nullptr before the first connection. Valid until the next. */
    const ferry_env_desc *env() const { return get() != nullptr ? ferry_agent_env(get()) : nullptr; }

    /* A field of the environment, by its path ("": the space is this field alone), if it is in this space. Valid until the next
     * connection, which may be to another environment. */
    template <class Space> Result<Observation<Space>> observation(std::string_view path) const {
        return find<Space, FERRY_OBSERVATION>(path);
    }
    template <class Space> Result<Action<Space>> action(std::string_view path) const { return find<Space, FERRY_ACTION>(path); }
    template <class Space> Result<Info<Space>> info(std::string_view path) const { return find<Space, FERRY_INFO>(path); }

    /* The turn to fill; none if there is no connection, or an answer is owed. */
    Request request() { return Request(get(), get() != nullptr ? ferry_agent_turn(get()) : nullptr); }
    /* Waits for the answer; one that does not come in time stays owed. */
    Answer wait(int64_t timeout_ns = forever) {
        const ferry_turn *turn;
        const int got = get() != nullptr ? ferry_agent_wait(get(), timeout_ns, &turn) : FERRY_ESTATE;
        return Answer(got > 0 ? turn : nullptr, Error(got));
    }
    Hold hold() { return Hold(get() != nullptr ? ferry_agent_hold(get()) : nullptr); }
    Why why() const {
        Why why{};
        if (get() != nullptr) ferry_agent_why(get(), &why);
        return why;
    }

private:
    template <class Space, ferry_role role> Result<Key<Space, role>> find(std::string_view path) const {
        constexpr std::string_view word = role == FERRY_OBSERVATION ? "observation" : role == FERRY_ACTION ? "action" : "info";
        const ferry_env_desc *desc = env();
        if (desc == nullptr) return detail::why(FERRY_ESTATE, {"no environment has been met yet, so that no field is known"});
        for (uint32_t i = 0; i < desc->num_fields; i++) {
            const ferry_field &field = desc->fields[i];
            if (field.role != role || path != (field.path != nullptr ? field.path : "")) continue;
            if (Space::matches(field)) return Key<Space, role>{i, Space::count(field), field.capacity};
            return detail::why(FERRY_EINVAL, {"the ", word, " '", path, "' of the environment is a ", field.capacity != 0 ? "list of " : "",
                                              detail::name_of_kind(field.kind), " of ", detail::name_of_dtype(field.dtype),
                                              field.ndim == 0 ? ", without dimensions" : "", ", which is not what was asked for"});
        }
        return detail::why(FERRY_EINVAL, {"the environment has no ", word, " '", path, "'"});
    }
};

} // namespace ferry

#endif /* LIBFERRY_HPP */
