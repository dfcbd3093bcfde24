/* An address: see address.h and libferry.h. */
#include "address.h"

#include "errors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FERRY__MAX_NAME 40
#define FERRY__PATH_BYTES 128

static int ferry__in_name(char c, int first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (!first && (c == '.' || c == '_' || c == '-'));
}

static int ferry__is_name(const char *text) {
    size_t i;
    for (i = 0; text[i] != 0; i++)
        if (!ferry__in_name(text[i], i == 0)) return 0;
    return i > 0 && i <= FERRY__MAX_NAME;
}

/* Decimal digits alone, up to INT32_MAX: the number, else -1. */
static int64_t ferry__digits(const char *text) {
    int64_t number = 0;
    if (*text == 0) return -1;
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9') return -1;
        number = number * 10 + (*text - '0');
        if (number > INT32_MAX) return -1;
    }
    return number;
}

int ferry__address_parse(const char *text, int serve, ferry__address *out, ferry_why *why) {
    const char *where = text;
    char *mark;
    int explicit_connect = 0;
    memset(out, 0, sizeof *out);
    out->serve = serve, out->index = -1;
    if (text == NULL || *text == 0)
        return ferry__fail(why, FERRY_EINVAL, "no address is given, and FERRY_ADDRESS is not set; pass a name such as \"pole\"");
    if (strncmp(text, "serve:", 6) == 0) where += 6, out->serve = 1;
    else if (strncmp(text, "connect:", 8) == 0) where += 8, out->serve = 0, explicit_connect = 1;
    if (strncmp(where, "tcp:", 4) == 0 || strncmp(where, "tls:", 4) == 0)
        return ferry__fail(why, FERRY_EUNSUPPORTED, "the address '%s' is on another machine; this build joins processes of one machine",
                           text);
    if (strncmp(where, "fd:", 3) == 0) {
        out->place = FERRY__INHERITED;
        out->serve = 0;
        out->number = ferry__digits(where + 3);
        if (out->number >= 0 && where == text) {
            snprintf(out->text, sizeof out->text, "%s", where);
            return 0;
        }
        return ferry__fail(why, FERRY_EINVAL, "'%s' is not a valid address: an inherited descriptor is written fd:N, without a role", text);
    }
    if (strlen(where) >= sizeof out->text)
        return ferry__fail(why, FERRY_EINVAL, "the address '%.60s...' is too long; a name has %d characters at most, a path 107 bytes",
                           text, FERRY__MAX_NAME);
    strcpy(out->text, where);
    mark = explicit_connect ? strrchr(out->text, '#') : NULL;
    if (mark != NULL) {
        int64_t index = ferry__digits(mark + 1);
        if (index < 0) return ferry__fail(why, FERRY_EINVAL, "'%s' is not a valid address: a number belongs after '#'", text);
        out->index = (int32_t)index;
        *mark = 0;
    }
    out->place = ferry__platform_is_path(out->text) ? FERRY__PATH : FERRY__NAME;
    if (out->place == FERRY__NAME && !ferry__is_name(out->text))
        return ferry__fail(
            why, FERRY_EINVAL,
            "'%s' is not a valid address: a name has 1 to %d of the characters A-Z a-z 0-9 . _ - and begins with a letter or digit; "
            "a path is absolute; roles are written serve:NAME and connect:NAME",
            text, FERRY__MAX_NAME);
    return 0;
}

int ferry__address_listen(const ferry__address *address, ferry__listener *out, ferry_why *why) {
    char directory[FERRY__PATH_BYTES], path[2 * FERRY__PATH_BYTES];
    int i, found, err = 0;
    out->os = FERRY__NO_OS;
    if (address->place == FERRY__PATH) return ferry__platform_listen(address->text, out, why);
    for (i = 0; (found = ferry__platform_directory(i, 1, directory, sizeof directory, why)) != 0; i++) {
        if (found < 0) {
            err = found;
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", directory, address->text);
        return ferry__platform_listen(path, out, why);
    }
    return err;
}

int ferry__address_connect(const ferry__address *address, ferry__os *out, ferry_why *why) {
    char directory[FERRY__PATH_BYTES], path[2 * FERRY__PATH_BYTES];
    ferry_why unfit;
    int i, found, done, usable = 0;
    unfit.code = 0;
    *out = FERRY__NO_OS;
    if (address->place == FERRY__INHERITED) return ferry__platform_inherit(address->number, out, why);
    if (address->place == FERRY__PATH) return ferry__platform_connect(address->text, out, why);
    for (i = 0; (found = ferry__platform_directory(i, 0, directory, sizeof directory, &unfit)) != 0; i++) {
        if (found < 0) continue;
        usable = 1;
        snprintf(path, sizeof path, "%s/%s", directory, address->text);
        done = ferry__platform_connect(path, out, why);
        if (done != 0) return done;
    }
    if (usable || unfit.code == 0) return 0;
    *why = unfit;
    return unfit.code;
}

/* ---- Advice ---- */

typedef struct ferry__survey {
    const char *wanted;
    ferry_why *why;
    int count, nearest_distance;
    char nearest[FERRY__MAX_NAME + 1];
} ferry__survey;

/* Levenshtein's edit distance of two names. */
static int ferry__distance(const char *a, const char *b) {
    int row[FERRY__MAX_NAME + 1], i, j, n = (int)strlen(b);
    for (j = 0; j <= n; j++) row[j] = j;
    for (i = 0; a[i] != 0; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (j = 0; j < n; j++) {
            int substitute = diagonal + (a[i] != b[j]), insert = row[j] + 1, remove = row[j + 1] + 1;
            int best = substitute < insert ? substitute : insert;
            diagonal = row[j + 1];
            row[j + 1] = best < remove ? best : remove;
        }
    }
    return row[n];
}

static void ferry__survey_one(void *user, const char *name) {
    ferry__survey *survey = (ferry__survey *)user;
    int distance;
    distance = ferry__distance(survey->wanted, name);
    if (distance < survey->nearest_distance) {
        survey->nearest_distance = distance;
        strcpy(survey->nearest, name);
    }
    if (survey->count < 8) ferry__also(survey->why, "%s'%s'", survey->count == 0 ? "; live: " : ", ", name);
    else if (survey->count == 8) ferry__also(survey->why, ", ...");
    survey->count++;
}

void ferry__address_advise(const ferry__address *address, ferry_why *why) {
    char directory[FERRY__PATH_BYTES];
    ferry__survey survey;
    ferry_why ignored;
    int i, found, searched = 0;
    if (address->place != FERRY__NAME) return;
    memset(&survey, 0, sizeof survey);
    survey.wanted = address->text, survey.why = why, survey.nearest_distance = 2 + (int)strlen(address->text) / 3;
    for (i = 0; (found = ferry__platform_directory(i, 0, directory, sizeof directory, &ignored)) != 0; i++)
        if (found > 0) ferry__also(why, "%s%s", searched++ == 0 ? "; searched: " : ", ", directory);
    for (i = 0; (found = ferry__platform_directory(i, 0, directory, sizeof directory, &ignored)) != 0; i++)
        if (found > 0) ferry__platform_each_name(directory, ferry__is_name, ferry__survey_one, &survey);
    if (survey.count == 0) ferry__also(why, "; nobody serves there");
    if (survey.nearest[0] != 0 && strcmp(survey.nearest, address->text) != 0) ferry__also(why, "; did you mean '%s'?", survey.nearest);
}
