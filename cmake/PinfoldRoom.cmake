# How the house is built: one static library for each room, whose USES are the arrows of docs/architecture.md,
# and one test program for each room.

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(Threads REQUIRED)

add_library(pinfold_options INTERFACE)
target_include_directories(pinfold_options INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
target_compile_definitions(pinfold_options INTERFACE _GNU_SOURCE)
target_compile_options(pinfold_options INTERFACE
    -Wall -Wextra -Wpedantic -Werror
    $<$<COMPILE_LANGUAGE:CXX>:-Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor -Woverloaded-virtual>)

# pinfold_room(NAME SOURCES file... USES room... LIBRARIES target...)
function(pinfold_room name)
    cmake_parse_arguments(ROOM "" "" "SOURCES;USES;LIBRARIES" ${ARGN})
    list(TRANSFORM ROOM_USES PREPEND pinfold_)
    if(ROOM_SOURCES)
        add_library(pinfold_${name} STATIC ${ROOM_SOURCES})
        target_link_libraries(pinfold_${name} PUBLIC pinfold_options ${ROOM_USES} ${ROOM_LIBRARIES})
    else()
        add_library(pinfold_${name} INTERFACE)
        target_link_libraries(pinfold_${name} INTERFACE pinfold_options ${ROOM_USES} ${ROOM_LIBRARIES})
    endif()
endfunction()

# pinfold_test(ROOM SOURCES file... USES room... LIBRARIES target...): one program, <room>_test, one ctest entry.
# tests/support/main.cpp makes it fail when no test ran.
function(pinfold_test name)
    cmake_parse_arguments(TEST "" "" "SOURCES;USES;LIBRARIES" ${ARGN})
    list(TRANSFORM TEST_USES PREPEND pinfold_)
    add_executable(${name}_test ${TEST_SOURCES} ${CMAKE_SOURCE_DIR}/tests/support/main.cpp)
    target_include_directories(${name}_test PRIVATE ${CMAKE_SOURCE_DIR}/tests)
    target_link_libraries(${name}_test PRIVATE pinfold_options ${TEST_USES} ${TEST_LIBRARIES}
        GTest::gmock GTest::gtest)
    add_test(NAME ${name} COMMAND ${name}_test)
    set_tests_properties(${name} PROPERTIES TIMEOUT 1200)
endfunction()
