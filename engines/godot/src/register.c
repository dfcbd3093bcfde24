/* What the engine calls when it loads the addon. */
#include "engine.h"
#include "environment.h"
#include "space.h"

static GDExtensionClassLibraryPtr library;

static void initialize(void *user, GDExtensionInitializationLevel level) {
    (void)user;
    if (level != GDEXTENSION_INITIALIZATION_SCENE) return;
    engine_begin();
    space_register(library);
    environment_register(library);
}

static void deinitialize(void *user, GDExtensionInitializationLevel level) {
    (void)user;
    if (level != GDEXTENSION_INITIALIZATION_SCENE) return;
    environment_unregister(library);
    space_unregister(library);
    engine_end();
}

__attribute__((visibility("default"))) GDExtensionBool ferry_godot_init(GDExtensionInterfaceGetProcAddress get_proc_address,
                                                                        GDExtensionClassLibraryPtr loaded,
                                                                        GDExtensionInitialization *initialization);

GDExtensionBool ferry_godot_init(GDExtensionInterfaceGetProcAddress get_proc_address, GDExtensionClassLibraryPtr loaded,
                                 GDExtensionInitialization *initialization) {
    if (!engine_open(get_proc_address)) return 0;
    library = loaded;
    initialization->minimum_initialization_level = GDEXTENSION_INITIALIZATION_SCENE;
    initialization->initialize = initialize, initialization->deinitialize = deinitialize;
    return 1;
}
